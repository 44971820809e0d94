// ResNet-18 (He et al. 2016) and the wide ResNet WRN-16-8 (Zagoruyko and Komodakis 2016).
//
// resnet18 below 64 pixels has CIFAR's stem (3×3, stride 1, no pooling); from 64 on torchvision's
// (7×7, stride 2, then a 3/2 max-pool), with torchvision's tensor names. Its batch norms follow
// convolutions, so the exported network has biases in their place. wrn-16-8 puts them before the
// ReLU of each branch (pre-activation): those that follow an addition stay in the exported network.
// Convolutions start as He et al. 2015 by their outputs (ResNet) or inputs (wide ResNet).
#include <fmt/format.h>

#include "models/builder.h"
#include "models/models.h"

namespace pare {
namespace {

struct NormedConv {
  std::string conv;
  std::string norm;
  int64_t channels = 0;
  int64_t kernel = 3;
  int64_t stride = 1;
};

Value conv_norm(GraphBuilder& b, bool training_form, const Value& x, const NormedConv& c) {
  const Value y = b.conv(c.conv, x,
                         {.channels = c.channels,
                          .kernel = c.kernel,
                          .stride = c.stride,
                          .padding = c.kernel / 2,
                          .bias = !training_form,
                          .init = InitKind::kHeFanOut});
  return training_form ? b.batch_norm(c.norm, y) : y;
}

Value basic_block(GraphBuilder& b, bool training_form, const std::string& name, const Value& x,
                  int64_t channels, int64_t stride) {
  Value y = conv_norm(
      b, training_form, x,
      {.conv = name + ".conv1", .norm = name + ".bn1", .channels = channels, .stride = stride});
  y = b.relu(name + ".relu1", y);
  y = conv_norm(b, training_form, y,
                {.conv = name + ".conv2", .norm = name + ".bn2", .channels = channels});
  Value shortcut = x;
  if (stride != 1 || x.shape[0] != channels) {
    shortcut = conv_norm(b, training_form, x,
                         {.conv = name + ".downsample.0",
                          .norm = name + ".downsample.1",
                          .channels = channels,
                          .kernel = 1,
                          .stride = stride});
  }
  return b.relu(name + ".relu2", b.add(name + ".add", y, shortcut));
}

// BN, ReLU, conv, BN, ReLU, conv; where the widths differ the shortcut is a 1×1 convolution of the
// activated input.
Value wide_block(GraphBuilder& b, const std::string& name, const Value& x, int64_t channels,
                 int64_t stride) {
  const Value active = b.relu(name + ".relu1", b.batch_norm(name + ".bn1", x));
  const ConvOptions first = {
      .channels = channels, .kernel = 3, .stride = stride, .padding = 1, .bias = false};
  const ConvOptions second = {.channels = channels, .kernel = 3, .padding = 1, .bias = false};
  Value y = b.conv(name + ".conv1", active, first);
  y = b.relu(name + ".relu2", b.batch_norm(name + ".bn2", y));
  y = b.conv(name + ".conv2", y, second);
  Value shortcut = x;
  if (stride != 1 || x.shape[0] != channels) {
    shortcut = b.conv(name + ".shortcut", active,
                      {.channels = channels, .kernel = 1, .stride = stride, .bias = false});
  }
  return b.add(name + ".add", y, shortcut);
}

}  // namespace

Result<Graph> build_resnet18(const ModelOptions& options) {
  GraphBuilder b("resnet18", options, 32, 17);
  const bool bn = options.training_form;
  const bool small = b.image_size() < 64;
  Value x = b.image_input();
  x = conv_norm(b, bn, x,
                {.conv = "conv1",
                 .norm = "bn1",
                 .channels = 64,
                 .kernel = small ? 3 : 7,
                 .stride = small ? 1 : 2});
  x = b.relu("relu1", x);
  if (!small) x = b.max_pool("maxpool", x, {.kernel = 3, .stride = 2, .padding = 1});
  int64_t channels = 64;
  for (int layer = 1; layer <= 4; ++layer, channels *= 2) {
    for (int block = 0; block < 2; ++block) {
      const int64_t stride = layer > 1 && block == 0 ? 2 : 1;
      x = basic_block(b, bn, fmt::format("layer{}.{}", layer, block), x, channels, stride);
    }
  }
  x = b.global_average_pool("avgpool", x);
  return b.finish(b.dense("fc", x, options.classes, InitKind::kScores));
}

Result<Graph> build_wrn_16_8(const ModelOptions& options) {
  constexpr int64_t kWiden = 8;
  constexpr int kBlocks = 2;  // (depth 16 - 4) / 6
  GraphBuilder b("wrn-16-8", options, 32, 17);
  Value x = b.image_input();
  x = b.conv("conv1", x, {.channels = 16, .kernel = 3, .padding = 1, .bias = false});
  for (int group = 0; group < 3; ++group) {
    const int64_t channels = (int64_t{16} << group) * kWiden;
    for (int block = 0; block < kBlocks; ++block) {
      const int64_t stride = group > 0 && block == 0 ? 2 : 1;
      x = wide_block(b, fmt::format("group{}.{}", group + 1, block), x, channels, stride);
    }
  }
  x = b.relu("relu", b.batch_norm("bn", x));
  x = b.global_average_pool("avgpool", x);
  return b.finish(b.dense("fc", x, options.classes, InitKind::kScores));
}

}  // namespace pare
