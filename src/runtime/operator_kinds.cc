#include "runtime/operator_kinds.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>
#include <unordered_map>

#include "runtime/lowering.h"

namespace pare {

std::optional<LoopOp> unary_loop(const Node& node) {
  static const std::unordered_map<std::string, LoopOp> kLoops = {
      {"Abs", LoopOp::kAbs},
      {"Neg", LoopOp::kNeg},
      {"Exp", LoopOp::kExp},
      {"Log", LoopOp::kLog},
      {"Sqrt", LoopOp::kSqrt},
      {"Reciprocal", LoopOp::kReciprocal},
      {"Erf", LoopOp::kErf},
      {"Tanh", LoopOp::kTanh},
      {"Sigmoid", LoopOp::kSigmoid},
      {"Relu", LoopOp::kRelu},
      {"LeakyRelu", LoopOp::kLeakyRelu},
      {"HardSigmoid", LoopOp::kHardSigmoid},
      {"HardSwish", LoopOp::kHardSwish},
      {"Floor", LoopOp::kFloor},
      {"Ceil", LoopOp::kCeil},
      {"Round", LoopOp::kRound},
      {"Sign", LoopOp::kSign},
      {"Softplus", LoopOp::kSoftplus},
      {"Elu", LoopOp::kElu},
  };
  if (node.op == "Gelu") {
    return node.string_attribute("approximate", "none") == "tanh" ? LoopOp::kGeluTanh
                                                                  : LoopOp::kGelu;
  }
  const auto it = kLoops.find(node.op);
  if (it == kLoops.end()) return std::nullopt;
  return it->second;
}

std::optional<LoopOp> binary_loop(const std::string& op) {
  static const std::unordered_map<std::string, LoopOp> kLoops = {
      {"Add", LoopOp::kAdd}, {"Sub", LoopOp::kSub}, {"Mul", LoopOp::kMul},
      {"Div", LoopOp::kDiv}, {"Min", LoopOp::kMin}, {"Max", LoopOp::kMax},
      {"Pow", LoopOp::kPow}, {"Sum", LoopOp::kAdd}, {"PRelu", LoopOp::kPRelu},
  };
  const auto it = kLoops.find(op);
  if (it == kLoops.end()) return std::nullopt;
  return it->second;
}

bool is_program_float(DType type) {
  return type == DType::kFloat32 || type == DType::kFloat16 || type == DType::kBFloat16;
}

bool is_program_source(DType type) {
  return is_program_float(type) || type == DType::kUInt8 || type == DType::kInt8 ||
         type == DType::kInt32 || type == DType::kBool;
}

bool all_zero(const Tensor* tensor) {
  if (tensor == nullptr || is_floating(tensor->type())) return false;
  const auto values = to_int64_vector(*tensor);
  return values.ok() &&
         std::all_of(values->begin(), values->end(), [](int64_t v) { return v == 0; });
}

bool follows_constant(const Graph& graph, const GraphIndex& index, const std::string& value) {
  const int i = index.producer(value);
  if (i < 0) return false;
  const Node& node = graph.nodes[static_cast<size_t>(i)];
  const bool small = node.op == "DequantizeLinear" || node.op == "Cast";
  return small && graph.find_initializer(node.inputs[0]) != nullptr;
}

bool follows_relu(const Graph& graph, const GraphIndex& index, const std::string& value,
                  bool input_does) {
  static constexpr std::array<std::string_view, 11> kKeepZeros = {
      "Flatten", "Reshape", "Squeeze",          "Unsqueeze",      "Transpose",
      "MaxPool", "Dropout", "DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear",
      "Identity"};
  std::string at = value;
  for (int i = index.producer(at); i >= 0; i = index.producer(at)) {
    const Node& node = graph.nodes[static_cast<size_t>(i)];
    if (node.op == "Relu") return true;
    if (std::find(kKeepZeros.begin(), kKeepZeros.end(), node.op) == kKeepZeros.end()) return false;
    at = node.inputs[0];
  }
  return input_does && graph.find_initializer(at) == nullptr;
}

std::optional<Quantisation> uniform_quantisation(const Graph& graph, const ValueInfos& infos,
                                                 const Node& node) {
  const bool quantize = node.op == "QuantizeLinear";
  if (!node.domain.empty() || (!quantize && node.op != "DequantizeLinear")) return std::nullopt;
  Quantisation q;
  q.type = infos.at(quantize ? node.outputs[0] : node.inputs[0]).type;
  const Tensor* scale = graph.find_initializer(node.inputs[1]);
  if (scale == nullptr || scale->size() != 1 ||
      (q.type != DType::kUInt8 && q.type != DType::kInt8)) {
    return std::nullopt;
  }
  q.scale = to_float_vector(*scale)[0];
  // Scales of no use (0, negative, NaN) are left to the operator alone.
  if (!(q.scale > 0.0F)) return std::nullopt;
  if (node.has_input(2)) {
    const Tensor* zero = graph.find_initializer(node.inputs[2]);
    if (zero == nullptr || zero->size() != 1) return std::nullopt;
    const auto values = to_int64_vector(*zero);
    if (!values.ok()) return std::nullopt;
    q.zero_point = static_cast<int32_t>((*values)[0]);
  }
  return q;
}

Result<int32_t> uniform_zero_point(Lowering& lowering, const Node& node) {
  if (!node.has_input(2)) return 0;
  const Tensor* tensor = lowering.constant(node.inputs[2]);
  if (tensor == nullptr) {
    return unsupported(fmt::format("node '{}' ({}): the zero point '{}' must be a constant",
                                   node.name, node.op, node.inputs[2]));
  }
  PARE_ASSIGN_OR_RETURN(const auto values, to_int64_vector(*tensor));
  for (int64_t v : values) {
    if (v != values[0]) {
      return unsupported(fmt::format("node '{}' ({}): zero points {} and {} in one activation",
                                     node.name, node.op, values[0], v));
    }
  }
  return values.empty() ? 0 : static_cast<int32_t>(values[0]);
}

Result<int64_t> quantisation_axis(Lowering& lowering, const Node& node) {
  const auto rank = static_cast<int64_t>(lowering.info(node.inputs[0]).shape.size());
  if (lowering.info(node.inputs[1]).shape.size() > 1) {
    return unsupported(
        fmt::format("node '{}' ({}): scales in blocks of an activation", node.name, node.op));
  }
  if (rank == 0 || lowering.info(node.inputs[1]).shape.empty()) return int64_t{0};
  return normalised_axis(lowering.rule_context(node), node.int_attribute("axis", 1), rank);
}

Result<Tensor> dequantise_constant(Lowering& lowering, const Node& node) {
  const Tensor* codes = lowering.constant(node.inputs[0]);
  const Tensor* scale = lowering.constant(node.inputs[1]);
  const Tensor* zero = node.has_input(2) ? lowering.constant(node.inputs[2]) : nullptr;
  if (codes == nullptr || codes->empty() || scale == nullptr ||
      (node.has_input(2) && zero == nullptr)) {
    return unsupported(fmt::format("node '{}' ({}): its scale and zero point must be constants",
                                   node.name, node.op));
  }
  PARE_ASSIGN_OR_RETURN(const auto q, to_int64_vector(*codes));
  const std::vector<float> scales = to_float_vector(*scale);
  std::vector<int64_t> zeros(scales.size(), 0);
  if (zero != nullptr) {
    PARE_ASSIGN_OR_RETURN(zeros, to_int64_vector(*zero));
  }
  const auto rank = static_cast<int64_t>(codes->rank());
  int64_t axis = 0;
  if (rank > 0 && scales.size() > 1) {
    PARE_ASSIGN_OR_RETURN(
        axis, normalised_axis(lowering.rule_context(node), node.int_attribute("axis", 1), rank));
  }
  // Elements i of the tensor lie at (outer, along, inner); a block of `block` along the axis shares
  // a scale, and with blocks the scales vary over the inner dimensions too.
  const int64_t block = std::max<int64_t>(1, node.int_attribute("block_size", 0));
  const bool blocked = node.int_attribute("block_size", 0) > 0;
  int64_t inner = 1;
  for (int64_t d = axis + 1; d < rank; ++d) inner *= codes->dim(static_cast<int>(d));
  const int64_t along = rank == 0 ? 1 : codes->dim(static_cast<int>(axis));
  const int64_t blocks = along / block + (along % block != 0 ? 1 : 0);
  Tensor out(DType::kFloat32, codes->shape());
  auto dst = out.mutable_values<float>();
  for (int64_t i = 0; i < out.size(); ++i) {
    const int64_t a = i / inner % along;
    int64_t at = scales.size() == 1 ? 0 : a;
    if (blocked) at = (i / inner / along * blocks + a / block) * inner + i % inner;
    const auto s = static_cast<size_t>(at);
    if (s >= scales.size() || s >= zeros.size()) {
      return invalid_argument(fmt::format("node '{}' ({}): {} scales and {} zero points for {}",
                                          node.name, node.op, scales.size(), zeros.size(),
                                          shape_string(codes->shape())));
    }
    dst[static_cast<size_t>(i)] =
        static_cast<float>(q[static_cast<size_t>(i)] - zeros[s]) * scales[s];
  }
  return out;
}

Result<std::vector<View>> attention_operands(Lowering& lowering, const Node& node, DType type) {
  std::vector<View> parts;
  for (const std::string& input : node.inputs) {
    PARE_ASSIGN_OR_RETURN(View view, lowering.value(input));
    PARE_ASSIGN_OR_RETURN(view, lowering.converted(view, type, node.name));
    if (view.strides[2] != 1) {
      PARE_ASSIGN_OR_RETURN(view, lowering.dense(view, node.name));
    }
    parts.push_back(view);
  }
  if (parts.size() == 1) {
    const int64_t width = parts[0].shape[2] / 3;
    parts[0].shape[2] = width;
    for (int64_t i : {1, 2}) {
      parts.push_back(parts[0]);
      parts.back().offset += i * width;
    }
  }
  return parts;
}

std::optional<ActivationKind> activation_kind(const Graph& graph, const Node& node) {
  if (node.op == "Relu") return ActivationKind{Activation::kRelu};
  if (node.op == "Sigmoid") return ActivationKind{Activation::kSigmoid};
  if (node.op == "Tanh") return ActivationKind{Activation::kTanh};
  if (node.op == "HardSwish") return ActivationKind{Activation::kHardSwish};
  if (node.op == "HardSigmoid") {
    return ActivationKind{Activation::kHardSigmoid, node.float_attribute("alpha", 0.2F),
                          node.float_attribute("beta", 0.5F)};
  }
  if (node.op == "LeakyRelu") {
    return ActivationKind{Activation::kLeakyRelu, node.float_attribute("alpha", 0.01F)};
  }
  if (node.op == "Gelu") {
    return ActivationKind{node.string_attribute("approximate", "none") == "tanh"
                              ? Activation::kGeluTanh
                              : Activation::kGelu};
  }
  if (node.op != "Clip") return std::nullopt;
  ActivationKind clip{Activation::kClip, -std::numeric_limits<float>::infinity(),
                      std::numeric_limits<float>::infinity()};
  for (size_t i : {1U, 2U}) {
    if (!node.has_input(i)) continue;
    const Tensor* bound = graph.find_initializer(node.inputs[i]);
    if (bound == nullptr || bound->size() != 1) return std::nullopt;
    (i == 1 ? clip.alpha : clip.beta) = to_float_vector(*bound)[0];
  }
  return clip;
}

}  // namespace pare
