// AlexNet (Krizhevsky, Sutskever and Hinton 2012) in two shapes.
//
// "alexnet" is the seed's: made for 32×32 images, its first convolution at stride 1; 23,490,378
// parameters with 10 classes. "alexnet-imagenet" is torchvision's single-tower shape ("One weird
// trick", Krizhevsky 2014) for image folders; 61,100,840 parameters with 1,000 classes at 224×224.
// Weights start as He et al. 2015, the last layer's near zero, biases at zero.
#include "models/builder.h"
#include "models/models.h"

namespace pare {
namespace {

// Convolution or dense layer, batch norm in the training form, ReLU.
Value conv_relu(GraphBuilder& b, bool training_form, const std::string& index, const Value& x,
                const ConvOptions& options) {
  Value y = b.conv("conv" + index, x, options);
  if (training_form) y = b.batch_norm("bn" + index, y);
  return b.relu("relu" + index, y);
}

Value dense_relu(GraphBuilder& b, bool training_form, const std::string& index, const Value& x,
                 int64_t units) {
  Value y = b.dense("fc" + index, x, units);
  if (training_form) y = b.batch_norm("bn" + index, y);
  return b.relu("relu" + index, y);
}

}  // namespace

Result<Graph> build_alexnet(const ModelOptions& options) {
  GraphBuilder b("alexnet", options, 32, 17);
  const bool bn = options.training_form;
  Value x = b.image_input();
  x = conv_relu(b, bn, "1", x, {.channels = 64, .kernel = 11});
  x = b.max_pool("pool1", x, {.kernel = 3, .stride = 2});
  x = conv_relu(b, bn, "2", x, {.channels = 192, .kernel = 5, .padding = 2});
  x = b.max_pool("pool2", x, {.kernel = 2, .stride = 2});
  x = conv_relu(b, bn, "3", x, {.channels = 384, .kernel = 3, .padding = 1});
  x = conv_relu(b, bn, "4", x, {.channels = 256, .kernel = 3, .padding = 1});
  x = conv_relu(b, bn, "5", x, {.channels = 256, .kernel = 3, .padding = 1});
  x = b.max_pool("pool5", x, {.kernel = 2, .stride = 2});
  x = b.flatten("flatten", x);
  x = dense_relu(b, bn, "6", x, 4096);
  x = b.dropout("drop6", x, 0.5F);
  x = dense_relu(b, bn, "7", x, 4096);
  x = b.dropout("drop7", x, 0.5F);
  return b.finish(b.dense("fc8", x, options.classes, InitKind::kScores));
}

Result<Graph> build_alexnet_imagenet(const ModelOptions& options) {
  GraphBuilder b("alexnet-imagenet", options, 224, 17);
  const bool bn = options.training_form;
  Value x = b.image_input();
  x = conv_relu(b, bn, "1", x, {.channels = 64, .kernel = 11, .stride = 4, .padding = 2});
  x = b.max_pool("pool1", x, {.kernel = 3, .stride = 2});
  x = conv_relu(b, bn, "2", x, {.channels = 192, .kernel = 5, .padding = 2});
  x = b.max_pool("pool2", x, {.kernel = 3, .stride = 2});
  x = conv_relu(b, bn, "3", x, {.channels = 384, .kernel = 3, .padding = 1});
  x = conv_relu(b, bn, "4", x, {.channels = 256, .kernel = 3, .padding = 1});
  x = conv_relu(b, bn, "5", x, {.channels = 256, .kernel = 3, .padding = 1});
  x = b.max_pool("pool5", x, {.kernel = 3, .stride = 2});
  x = b.flatten("flatten", x);
  x = b.dropout("drop5", x, 0.5F);
  x = dense_relu(b, bn, "6", x, 4096);
  x = b.dropout("drop6", x, 0.5F);
  x = dense_relu(b, bn, "7", x, 4096);
  return b.finish(b.dense("fc8", x, options.classes, InitKind::kScores));
}

}  // namespace pare
