#include "compress/shrink_nets.h"

#include <string>
#include <utility>
#include <vector>

#include "compress/toy_builder.h"

namespace pare::toy {
namespace {

using Ints = std::vector<int64_t>;
constexpr int64_t kOpset = 20;  // the first with Gelu

Graph end(Builder& b, const std::string& x, int64_t width) {
  b.add("Gemm", "head",
        {x, b.weights("head.weight", {kClasses, width}, width),
         b.floats("head.bias", {kClasses}, 0.1F)},
        {{"transB", int64_t{1}}});
  b.graph.outputs = {{"head", DType::kFloat32, {kDynamic, kClasses}}};
  return std::move(b.graph);
}

struct ConvShape {
  int64_t in = 0;
  int64_t out = 0;
  int64_t kernel = 3;
  int64_t stride = 1;
  int64_t groups = 1;
};

// Padded so that the size stays, but for the stride.
std::string conv(Builder& b, const std::string& name, const std::string& x, const ConvShape& s) {
  const int64_t columns = s.in / s.groups;
  const int64_t pad = s.kernel / 2;
  return b.add("Conv", name,
               {x,
                b.weights(name + ".weight", {s.out, columns, s.kernel, s.kernel},
                          columns * s.kernel * s.kernel),
                b.floats(name + ".bias", {s.out}, 0.1F)},
               {{"pads", Ints{pad, pad, pad, pad}},
                {"strides", Ints{s.stride, s.stride}},
                {"group", s.groups}});
}

std::string conv_relu(Builder& b, const std::string& name, const std::string& x,
                      const ConvShape& s) {
  return b.add("Relu", name + ".relu", {conv(b, name, x, s)});
}

std::string pooled(Builder& b, std::string x) {
  x = b.add("GlobalAveragePool", "pool", {std::move(x)});
  return b.add("Flatten", "flatten", {x});
}

std::string ints(Builder& b, const std::string& name, const Ints& values) {
  b.graph.initializers[name] =
      Tensor::from_values<int64_t>({static_cast<int64_t>(values.size())}, values);
  return name;
}

std::string dense(Builder& b, const std::string& name, const std::string& x, int64_t in,
                  int64_t out) {
  const std::string y = b.add("MatMul", name, {x, b.weights(name + ".weight", {in, out}, in)});
  return b.add("Add", name + ".add", {y, b.floats(name + ".bias", {out}, 0.1F)});
}

std::string layer_norm(Builder& b, const std::string& name, const std::string& x, int64_t width) {
  return b.add(
      "LayerNormalization", name,
      {x, b.floats(name + ".scale", {width}, 0.1F, 1), b.floats(name + ".bias", {width}, 0.1F)},
      {{"axis", int64_t{-1}}, {"epsilon", 1e-5F}});
}

constexpr int64_t kTokens = 4;
constexpr int64_t kDim = 16;
constexpr int64_t kHeads = 4;
constexpr int64_t kWidth = 5;  // of a head: the projections are wider than the stream
constexpr int64_t kInner = kHeads * kWidth;

struct Attended {
  std::string q, k, v;  // [N, heads, tokens, width]
};

Attended fused_projection(Builder& b, const std::string& x) {
  std::string y = dense(b, "qkv", x, kDim, 3 * kInner);
  y = b.add("Reshape", "qkv.parts", {y, ints(b, "qkv.shape", {0, kTokens, 3, kHeads, kWidth})});
  y = b.add("Transpose", "qkv.turned", {y}, {{"perm", Ints{2, 0, 3, 1, 4}}});
  const auto part = [&](const std::string& name, int64_t index) {
    b.graph.initializers[name + ".index"] = Tensor::scalar<int64_t>(index);
    return b.add("Gather", name, {y, name + ".index"}, {{"axis", int64_t{0}}});
  };
  return {part("q", 0), part("k", 1), part("v", 2)};
}

Attended separate_projections(Builder& b, const std::string& x) {
  const auto part = [&](const std::string& name) {
    std::string y = dense(b, name + ".proj", x, kDim, kInner);
    y = b.add("Reshape", name + ".heads",
              {y, ints(b, name + ".shape", {-1, kTokens, kHeads, kWidth})});
    return b.add("Transpose", name, {y}, {{"perm", Ints{0, 2, 1, 3}}});
  };
  return {part("q"), part("k"), part("v")};
}

}  // namespace

Graph residual_net() {
  Builder b(2);
  std::string x = conv_relu(b, "stem", b.begin("residual", kOpset), {3, 8});
  std::string y = conv_relu(b, "conv1", x, {8, 12});
  y = conv(b, "conv2", y, {12, 8});
  x = b.add("Relu", "relu1", {b.add("Add", "add1", {x, y})});
  y = conv_relu(b, "conv3", x, {8, 16, 3, 2});
  y = conv(b, "conv4", y, {16, 16});
  x = conv(b, "shortcut", x, {8, 16, 1, 2});
  x = b.add("Add", "add2", {y, x});
  x = b.add("BatchNormalization", "norm",
            {x, b.floats("norm.scale", {16}, 0.2F, 1), b.floats("norm.bias", {16}, 0.2F),
             b.floats("norm.mean", {16}, 0.1F), b.floats("norm.var", {16}, 0.05F, 1)});
  x = b.add("Relu", "relu2", {x});
  return end(b, pooled(b, x), 16);
}

Graph concat_net() {
  Builder b(3);
  const std::string image = b.begin("concat", kOpset);
  const std::string a = conv_relu(b, "a", image, {3, 6});
  const std::string c = conv_relu(b, "b", image, {3, 10});
  std::string x = b.add("Concat", "both", {a, c}, {{"axis", int64_t{1}}});
  x = conv_relu(b, "c", x, {16, 8});
  x = b.add("Concat", "again", {x, a}, {{"axis", int64_t{1}}});
  x = conv_relu(b, "d", x, {14, 8});
  return end(b, pooled(b, x), 8);
}

Graph grouped_chain() {
  Builder b(4);
  std::string x = conv_relu(b, "conv0", b.begin("grouped", kOpset), {3, 16});
  x = conv_relu(b, "few", x, {16, 16, 3, 1, 2});
  x = conv_relu(b, "many", x, {16, 24, 3, 1, 8});
  x = conv_relu(b, "depthwise", x, {24, 48, 3, 1, 24});
  x = conv_relu(b, "point", x, {48, 8, 1});
  return end(b, pooled(b, x), 8);
}

Graph vit_net(bool fused) {
  Builder b(5);
  std::string x = b.begin(fused ? "vit, fused" : "vit, separate", kOpset);
  x = b.add("Conv", "patches", {x, b.weights("patches.weight", {kDim, 3, 4, 4}, 48)},
            {{"strides", Ints{4, 4}}});
  x = b.add("Reshape", "columns", {x, ints(b, "columns.shape", {0, kDim, kTokens})});
  x = b.add("Transpose", "tokens", {x}, {{"perm", Ints{0, 2, 1}}});
  x = b.add("Add", "placed", {x, b.floats("positions", {1, kTokens, kDim}, 0.3F)});
  std::string y = layer_norm(b, "norm1", x, kDim);
  const Attended in = fused ? fused_projection(b, y) : separate_projections(b, y);
  y = b.add("Transpose", "k.turned", {in.k}, {{"perm", Ints{0, 1, 3, 2}}});
  b.graph.initializers["scale.value"] = Tensor::scalar<float>(0.4F);
  y = b.add("Mul", "scores", {b.add("MatMul", "products", {in.q, y}), "scale.value"});
  y = b.add("Softmax", "weights", {y}, {{"axis", int64_t{-1}}});
  y = b.add("MatMul", "context", {y, in.v});
  y = b.add("Transpose", "context.tokens", {y}, {{"perm", Ints{0, 2, 1, 3}}});
  y = b.add("Reshape", "merged", {y, ints(b, "merged.shape", {0, kTokens, kInner})});
  x = b.add("Add", "middle", {x, dense(b, "proj", y, kInner, kDim)});
  y = dense(b, "fc1", layer_norm(b, "norm2", x, kDim), kDim, 32);
  y = dense(b, "fc2", b.add("Gelu", "gelu", {y}), 32, kDim);
  x = layer_norm(b, "norm3", b.add("Add", "last", {x, y}), kDim);
  x = b.add("ReduceMean", "mean", {x, ints(b, "mean.axes", {1})}, {{"keepdims", int64_t{0}}});
  return end(b, x, kDim);
}

}  // namespace pare::toy
