#include "models/builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "base/thread_pool.h"

namespace pare {
namespace {

constexpr int64_t kDrawBlock = 65536;
constexpr int64_t kMaxImageSize = 16384;
// From this size on images are photographs, not CIFAR's: their mean and standard deviation are
// ImageNet's.
constexpr int64_t kLargeImage = 64;

uint64_t fnv1a(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
  return hash;
}

float truncated_normal(Rng& rng) {
  while (true) {
    const float x = rng.normal();
    if (std::fabs(x) <= 2.0F) return x / kTruncatedStd;
  }
}

float draw_one(Rng& rng, const Init& init) {
  const auto in = static_cast<float>(init.fan_in);
  const auto out = static_cast<float>(init.fan_out);
  switch (init.kind) {
    case InitKind::kZero:
      return 0.0F;
    case InitKind::kOne:
      return 1.0F;
    case InitKind::kHeFanIn:
      return rng.normal() * std::sqrt(2.0F / in);
    case InitKind::kHeFanOut:
      return rng.normal() * std::sqrt(2.0F / out);
    case InitKind::kLecunNormal:
      return truncated_normal(rng) * std::sqrt(1.0F / in);
    case InitKind::kXavierUniform: {
      const float bound = std::sqrt(6.0F / (in + out));
      return rng.uniform(-bound, bound);
    }
    case InitKind::kScores:
      return rng.normal() * 0.1F * std::sqrt(1.0F / in);
    case InitKind::kMeanScores:
      return rng.normal() / in;
    case InitKind::kDirac: {
      const float bound = std::sqrt(1.0F / in);
      return rng.uniform(-bound, bound);
    }
    case InitKind::kNormal002:
      return truncated_normal(rng) * 0.02F;
  }
  return 0.0F;
}

// [out, in, kernel, kernel]: output channel i becomes input channel i, as far as there are both.
void set_identity(Tensor& weights) {
  const Shape& shape = weights.shape();
  const std::span<float> values = weights.mutable_values<float>();
  const int64_t area = shape[2] * shape[3];
  for (int64_t o = 0; o < std::min(shape[0], shape[1]); ++o) {
    const auto begin = values.begin() + o * shape[1] * area;
    std::fill(begin, begin + shape[1] * area, 0.0F);
    begin[o * area + area / 2] = 1.0F;
  }
}

}  // namespace

GraphBuilder::GraphBuilder(std::string name, const ModelOptions& options, int64_t own_size,
                           int64_t opset)
    : options_(options), image_size_(options.image_size == 0 ? own_size : options.image_size) {
  graph_.name = std::move(name);
  graph_.opset = opset;
  if (options_.classes < 1) {
    fail(fmt::format("{} classes: at least 1 is needed", options_.classes));
  }
  if (image_size_ < 1 || image_size_ > kMaxImageSize) {
    fail(fmt::format("image size {}: expected 1 to {}", image_size_, kMaxImageSize));
  }
  const bool large = image_size_ >= kLargeImage;
  if (options_.mean.empty()) {
    options_.mean = large ? std::vector<float>{0.485F, 0.456F, 0.406F}
                          : std::vector<float>{0.4914F, 0.4822F, 0.4465F};
  }
  if (options_.std.empty()) {
    options_.std = large ? std::vector<float>{0.229F, 0.224F, 0.225F}
                         : std::vector<float>{0.2470F, 0.2435F, 0.2616F};
  }
  check_normalisation();
}

void GraphBuilder::check_normalisation() {
  for (auto* values : {&options_.mean, &options_.std}) {
    if (values->size() == 1) *values = std::vector<float>(3, values->front());
    if (values->size() != 3) {
      fail(fmt::format("{} {}: expected one, or 3 for red, green and blue", values->size(),
                       values == &options_.mean ? "means" : "standard deviations"));
      values->assign(3, 1.0F);
    }
  }
  for (const float m : options_.mean) {
    if (!std::isfinite(m)) fail(fmt::format("mean {}: must be finite", m));
  }
  for (const float s : options_.std) {
    if (!(s > 0.0F) || std::isinf(s)) {
      fail(fmt::format("standard deviation {}: must be positive", s));
    }
  }
}

void GraphBuilder::fail(const std::string& what) {
  if (status_.ok()) status_ = invalid_argument(fmt::format("model '{}': {}", graph_.name, what));
}

void GraphBuilder::draw(Tensor& tensor, const std::string& name, const Init& init) const {
  if (init.kind == InitKind::kZero || options_.zero_weights) return;
  const std::span<float> values = tensor.mutable_values<float>();
  const auto n = static_cast<int64_t>(values.size());
  const int64_t blocks = (n + kDrawBlock - 1) / kDrawBlock;
  const uint64_t stream = fnv1a(name);
  ThreadPool pool(static_cast<int>(std::min<int64_t>(blocks, available_cores())));
  pool.run(blocks, [&](int64_t block, int) {
    Rng rng(options_.seed, RngPurpose::kInit, stream, static_cast<uint32_t>(block));
    const int64_t end = std::min(n, (block + 1) * kDrawBlock);
    for (int64_t i = block * kDrawBlock; i < end; ++i) {
      values[static_cast<size_t>(i)] = draw_one(rng, init);
    }
  });
  if (init.kind == InitKind::kDirac) set_identity(tensor);
}

std::string GraphBuilder::weight(const std::string& name, Shape shape, const Init& init) {
  if (!status_.ok()) return name;
  Result<Tensor> tensor = Tensor::create(DType::kFloat32, std::move(shape));
  if (!tensor.ok()) {
    status_ = tensor.status().with_context(fmt::format("model '{}': '{}'", graph_.name, name));
    return name;
  }
  draw(*tensor, name, init);
  graph_.initializers[name] = *std::move(tensor);
  return name;
}

std::string GraphBuilder::constant(const std::string& name, Tensor tensor) {
  graph_.initializers[name] = std::move(tensor);
  return name;
}

Value GraphBuilder::node(const std::string& op, const std::string& name,
                         const std::vector<std::string>& inputs, Shape shape,
                         std::map<std::string, Attribute> attributes) {
  Node n;
  n.op = op;
  n.name = name;
  n.inputs = inputs;
  n.outputs = {name};
  n.attributes = std::move(attributes);
  graph_.nodes.push_back(std::move(n));
  return {name, std::move(shape)};
}

std::vector<Value> GraphBuilder::node_with_outputs(const std::string& op, const std::string& name,
                                                   const std::vector<std::string>& inputs,
                                                   const std::vector<Shape>& shapes,
                                                   std::map<std::string, Attribute> attributes) {
  node(op, name, inputs, {}, std::move(attributes));
  std::vector<Value> values;
  values.reserve(shapes.size());
  for (const Shape& shape : shapes) {
    values.push_back({fmt::format("{}.{}", name, values.size()), shape});
  }
  graph_.nodes.back().outputs.clear();
  for (const Value& v : values) graph_.nodes.back().outputs.push_back(v.name);
  return values;
}

Value GraphBuilder::image_input() {
  if (!status_.ok()) return {"input", {3, 1, 1}};
  const Shape shape = {3, image_size_, image_size_};
  graph_.inputs.push_back({"input", DType::kUInt8, {kDynamic, 3, image_size_, image_size_}});
  graph_.contract.channels = 3;
  graph_.contract.height = image_size_;
  graph_.contract.width = image_size_;
  std::vector<float> scale(3);
  std::vector<float> shift(3);
  for (size_t c = 0; c < 3; ++c) {
    scale[c] = 1.0F / (255.0F * options_.std[c]);
    shift[c] = -options_.mean[c] / options_.std[c];
  }
  constant("preprocess.scale", Tensor::from_values<float>({1, 3, 1, 1}, scale));
  constant("preprocess.shift", Tensor::from_values<float>({1, 3, 1, 1}, shift));
  node("Cast", "preprocess.cast", {"input"}, shape, {{"to", int64_t{1}}});  // 1 is ONNX's float32
  node("Mul", "preprocess.mul", {"preprocess.cast", "preprocess.scale"}, shape);
  return node("Add", "preprocess.add", {"preprocess.mul", "preprocess.shift"}, shape);
}

Value GraphBuilder::conv(const std::string& name, const Value& x, const ConvOptions& o) {
  const int64_t in = x.shape[0];
  Shape out = {o.channels, 0, 0};
  for (size_t d = 1; d < 3; ++d) {
    const int64_t span = x.shape[d] + 2 * o.padding - o.kernel;
    if (span < 0) {
      fail(fmt::format("'{}': a {}x{} kernel does not fit its input of {}; images are too small",
                       name, o.kernel, o.kernel, shape_string(x.shape)));
    }
    out[d] = std::max<int64_t>(span, 0) / o.stride + 1;
  }
  const int64_t area = o.kernel * o.kernel;
  std::vector<std::string> inputs = {x.name,
                                     weight(name + ".weight", {o.channels, in, o.kernel, o.kernel},
                                            {o.init, in * area, o.channels * area})};
  if (o.bias) inputs.push_back(weight(name + ".bias", {o.channels}, {}));
  return node("Conv", name, inputs, out,
              {{"dilations", std::vector<int64_t>{1, 1}},
               {"group", int64_t{1}},
               {"kernel_shape", std::vector<int64_t>(2, o.kernel)},
               {"pads", std::vector<int64_t>(4, o.padding)},
               {"strides", std::vector<int64_t>(2, o.stride)}});
}

Value GraphBuilder::batch_norm(const std::string& name, const Value& x, float kept) {
  const Shape channels = {x.shape[0]};
  std::map<std::string, Attribute> attributes = {{"epsilon", 1e-5F}};
  if (kept != 0.9F) attributes["momentum"] = kept;  // 0.9 is ONNX's own
  return node("BatchNormalization", name,
              {x.name, weight(name + ".weight", channels, {InitKind::kOne}),
               weight(name + ".bias", channels, {}), weight(name + ".running_mean", channels, {}),
               weight(name + ".running_var", channels, {InitKind::kOne})},
              x.shape, std::move(attributes));
}

Value GraphBuilder::relu(const std::string& name, const Value& x) {
  return node("Relu", name, {x.name}, x.shape);
}

Value GraphBuilder::gelu(const std::string& name, const Value& x) {
  return node("Gelu", name, {x.name}, x.shape);
}

Value GraphBuilder::max_pool(const std::string& name, const Value& x, const PoolOptions& o) {
  Shape out = x.shape;
  for (size_t d = 1; d < 3; ++d) {
    const int64_t span = x.shape[d] + 2 * o.padding - o.kernel;
    if (span < 0) {
      fail(fmt::format("'{}': a {}x{} window does not fit its input of {}; images are too small",
                       name, o.kernel, o.kernel, shape_string(x.shape)));
    }
    out[d] = std::max<int64_t>(span, 0) / o.stride + 1;
  }
  return node("MaxPool", name, {x.name}, out,
              {{"kernel_shape", std::vector<int64_t>(2, o.kernel)},
               {"pads", std::vector<int64_t>(4, o.padding)},
               {"strides", std::vector<int64_t>(2, o.stride)}});
}

Value GraphBuilder::global_average_pool(const std::string& name, const Value& x) {
  const Value pooled = node("GlobalAveragePool", name, {x.name}, {x.shape[0], 1, 1});
  return flatten(name + ".flatten", pooled);
}

Value GraphBuilder::flatten(const std::string& name, const Value& x) {
  return node("Flatten", name, {x.name}, {element_count(x.shape)}, {{"axis", int64_t{1}}});
}

Value GraphBuilder::dropout(const std::string& name, const Value& x, float ratio) {
  const std::string r = constant(name + ".ratio", Tensor::scalar<float>(ratio));
  return node("Dropout", name, {x.name, r}, x.shape);
}

Value GraphBuilder::add(const std::string& name, const Value& a, const Value& b) {
  return node("Add", name, {a.name, b.name}, a.shape);
}

Value GraphBuilder::dense(const std::string& name, const Value& x, int64_t units, InitKind init,
                          bool bias) {
  const int64_t in = x.shape[0];
  std::vector<std::string> inputs = {x.name,
                                     weight(name + ".weight", {units, in}, {init, in, units})};
  if (bias) inputs.push_back(weight(name + ".bias", {units}, {}));
  return node("Gemm", name, inputs, {units}, {{"transB", int64_t{1}}});
}

Value GraphBuilder::token_dense(const std::string& name, const Value& x, int64_t units,
                                int64_t fan_out) {
  const int64_t in = x.shape[1];
  const Init init = {InitKind::kXavierUniform, in, fan_out == 0 ? units : fan_out};
  const Shape out = {x.shape[0], units};
  const Value product =
      node("MatMul", name, {x.name, weight(name + ".weight", {in, units}, init)}, out);
  return node("Add", name + ".add", {product.name, weight(name + ".bias", {units}, {})}, out);
}

Value GraphBuilder::layer_norm(const std::string& name, const Value& x, float epsilon) {
  const Shape features = {x.shape.back()};
  return node("LayerNormalization", name,
              {x.name, weight(name + ".weight", features, {InitKind::kOne}),
               weight(name + ".bias", features, {})},
              x.shape, {{"axis", int64_t{-1}}, {"epsilon", epsilon}});
}

Result<Graph> GraphBuilder::finish(const Value& x) {
  PARE_RETURN_IF_ERROR(status_);
  graph_.nodes.back().outputs = {"logits"};
  graph_.outputs.push_back({"logits", DType::kFloat32, {kDynamic, x.shape[0]}});
  return std::move(graph_);
}

}  // namespace pare
