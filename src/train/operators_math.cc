// Elementwise operators, comparisons, reductions and matrix products.

#include <map>
#include <numbers>

#include "train/operators.h"
#include "train/tensors.h"

namespace pare {
namespace {

using Tensors = std::vector<at::Tensor>;

template <at::Tensor (*F)(const at::Tensor&)>
OperatorResult unary(const OperatorCall& call) {
  return Tensors{F(call.in(0))};
}

template <at::Tensor (*F)(const at::Tensor&, const at::Tensor&)>
OperatorResult binary(const OperatorCall& call) {
  return Tensors{F(call.in(0), call.in(1))};
}

template <at::Tensor (*F)(const at::Tensor&, const at::Tensor&)>
OperatorResult variadic(const OperatorCall& call) {
  at::Tensor sum = call.in(0);
  for (size_t i = 1; i < call.inputs.size(); ++i) sum = F(sum, call.in(i));
  return Tensors{sum};
}

at::Tensor add(const at::Tensor& a, const at::Tensor& b) { return at::add(a, b); }
at::Tensor sub(const at::Tensor& a, const at::Tensor& b) { return at::sub(a, b); }

// ONNX divides integers towards zero.
at::Tensor div(const at::Tensor& a, const at::Tensor& b) {
  const bool integers = at::isIntegralType(a.scalar_type(), true);
  return integers ? at::div(a, b, "trunc") : at::div(a, b);
}

OperatorResult mod(const OperatorCall& call) {
  const bool like_c = call.node.int_attribute("fmod", 0) != 0;
  return Tensors{like_c ? at::fmod(call.in(0), call.in(1)) : at::remainder(call.in(0), call.in(1))};
}

OperatorResult power(const OperatorCall& call) {
  // The exponent is nearly always a constant; as a plain number it costs no gradient of its own.
  at::Tensor out = call.in(1).numel() == 1 && !call.in(1).requires_grad()
                       ? at::pow(call.in(0), call.in(1).item())
                       : at::pow(call.in(0), call.in(1));
  return Tensors{out.to(call.in(0).scalar_type())};
}

OperatorResult cast(const OperatorCall& call) {
  // ONNX numbers its element types (TensorProto.DataType).
  static const std::map<int64_t, at::ScalarType> types = {
      {1, at::kFloat}, {2, at::kByte},    {3, at::kChar},     {4, at::kUInt16},
      {5, at::kShort}, {6, at::kInt},     {7, at::kLong},     {9, at::kBool},
      {10, at::kHalf}, {11, at::kDouble}, {16, at::kBFloat16}};
  const int64_t to = call.node.int_attribute("to", 0);
  const auto it = types.find(to);
  if (it == types.end()) {
    return unsupported("training cannot cast to ONNX element type " + std::to_string(to));
  }
  return Tensors{call.in(0).to(it->second)};
}

OperatorResult clip(const OperatorCall& call) {
  std::optional<at::Scalar> low;
  std::optional<at::Scalar> high;
  if (call.has(1)) low = call.in(1).item();
  if (call.has(2)) high = call.in(2).item();
  if (!low && !high) return Tensors{call.in(0)};
  return Tensors{at::clamp(call.in(0), low, high)};
}

OperatorResult gelu(const OperatorCall& call) {
  const std::string how = call.node.string_attribute("approximate", "none");
  if (how != "none" && how != "tanh") return unsupported("approximate is '" + how + "'");
  return Tensors{at::gelu(call.in(0), how)};
}

OperatorResult leaky_relu(const OperatorCall& call) {
  return Tensors{at::leaky_relu(call.in(0), call.node.float_attribute("alpha", 0.01F))};
}

OperatorResult elu(const OperatorCall& call) {
  return Tensors{at::elu(call.in(0), call.node.float_attribute("alpha", 1.0F))};
}

OperatorResult prelu(const OperatorCall& call) {
  const at::Tensor& x = call.in(0);
  return Tensors{at::clamp_min(x, 0) + call.in(1) * at::clamp_max(x, 0)};
}

OperatorResult hard_sigmoid(const OperatorCall& call) {
  const float alpha = call.node.float_attribute("alpha", 0.2F);
  const float beta = call.node.float_attribute("beta", 0.5F);
  return Tensors{at::clamp(call.in(0) * alpha + beta, 0, 1)};
}

OperatorResult softmax(const OperatorCall& call) {
  return Tensors{at::softmax(call.in(0), call.node.int_attribute("axis", -1))};
}

OperatorResult log_softmax(const OperatorCall& call) {
  return Tensors{at::log_softmax(call.in(0), call.node.int_attribute("axis", -1))};
}

at::Tensor relu(const at::Tensor& x) { return at::relu(x); }
at::Tensor identity(const at::Tensor& x) { return x; }
at::Tensor softplus(const at::Tensor& x) { return at::softplus(x); }

OperatorResult where(const OperatorCall& call) {
  return Tensors{at::where(call.in(0), call.in(1), call.in(2))};
}

// Axes by input (opset 18; ReduceSum from 13 on) or by attribute; none means all.
std::vector<int64_t> reduced_axes(const OperatorCall& call) {
  std::vector<int64_t> axes =
      call.has(1) ? host_integers(call.in(1)) : call.node.ints_attribute("axes");
  if (axes.empty()) {
    for (int64_t d = 0; d < call.in(0).dim(); ++d) axes.push_back(d);
  }
  return axes;
}

template <at::Tensor (*F)(const at::Tensor&, at::IntArrayRef, bool)>
OperatorResult reduce(const OperatorCall& call) {
  const bool no_axes =
      (!call.has(1) || call.in(1).numel() == 0) && call.node.ints_attribute("axes").empty();
  if (no_axes && call.node.int_attribute("noop_with_empty_axes", 0) != 0) {
    return Tensors{call.in(0)};
  }
  const bool keep = call.node.int_attribute("keepdims", 1) != 0;
  return Tensors{F(call.in(0), reduced_axes(call), keep)};
}

at::Tensor mean(const at::Tensor& x, at::IntArrayRef axes, bool keep) {
  return at::mean(x, axes, keep);
}
at::Tensor sum(const at::Tensor& x, at::IntArrayRef axes, bool keep) {
  return at::sum(x, axes, keep);
}
at::Tensor l2_norm(const at::Tensor& x, at::IntArrayRef axes, bool keep) {
  return at::sqrt(at::sum(x * x, axes, keep));
}
at::Tensor maximum_of(const at::Tensor& x, at::IntArrayRef axes, bool keep) {
  return at::amax(x, axes, keep);
}
at::Tensor minimum_of(const at::Tensor& x, at::IntArrayRef axes, bool keep) {
  return at::amin(x, axes, keep);
}

OperatorResult reduce_product(const OperatorCall& call) {
  std::vector<int64_t> axes = reduced_axes(call);
  at::Tensor out = call.in(0);
  for (int64_t axis : axes) out = at::prod(out, axis, /*keepdim=*/true);
  if (call.node.int_attribute("keepdims", 1) == 0) out = at::squeeze(out, axes);
  return Tensors{out};
}

OperatorResult argmax(const OperatorCall& call) {
  return Tensors{at::argmax(call.in(0), call.node.int_attribute("axis", 0),
                            call.node.int_attribute("keepdims", 1) != 0)};
}

OperatorResult matmul(const OperatorCall& call) {
  return Tensors{at::matmul(call.in(0), call.in(1))};
}

// alpha·A·B + beta·C. The common form, a dense layer, goes to at::linear.
OperatorResult gemm(const OperatorCall& call) {
  const float alpha = call.node.float_attribute("alpha", 1.0F);
  const float beta = call.node.float_attribute("beta", 1.0F);
  at::Tensor a = call.in(0);
  if (call.node.int_attribute("transA", 0) != 0) a = a.t();
  at::Tensor b = call.in(1);
  const bool transposed = call.node.int_attribute("transB", 0) != 0;
  const bool plain_bias = !call.has(2) || (beta == 1.0F && call.in(2).dim() == 1);
  if (alpha == 1.0F && plain_bias) {
    const at::Tensor weight = transposed ? b : b.t();
    if (!call.has(2)) return Tensors{at::linear(a, weight)};
    if (call.in(2).size(0) == weight.size(0)) return Tensors{at::linear(a, weight, call.in(2))};
  }
  if (transposed) b = b.t();
  at::Tensor out = at::matmul(a, b);
  if (alpha != 1.0F) out = out * alpha;
  if (call.has(2)) out = out + call.in(2) * beta;
  return Tensors{out};
}

}  // namespace

OperatorFunction find_math_operator(const std::string& op) {
  static const std::map<std::string, OperatorFunction> table = {
      {"Abs", unary<at::abs>},
      {"Add", binary<add>},
      {"And", binary<at::logical_and>},
      {"ArgMax", argmax},
      {"Cast", cast},
      {"Ceil", unary<at::ceil>},
      {"Clip", clip},
      {"Div", binary<div>},
      {"Elu", elu},
      {"Equal", binary<at::eq>},
      {"Erf", unary<at::erf>},
      {"Exp", unary<at::exp>},
      {"Floor", unary<at::floor>},
      {"Gelu", gelu},
      {"Gemm", gemm},
      {"Greater", binary<at::gt>},
      {"GreaterOrEqual", binary<at::ge>},
      {"HardSigmoid", hard_sigmoid},
      {"HardSwish", unary<at::hardswish>},
      {"Identity", unary<identity>},
      {"LeakyRelu", leaky_relu},
      {"Less", binary<at::lt>},
      {"LessOrEqual", binary<at::le>},
      {"Log", unary<at::log>},
      {"LogSoftmax", log_softmax},
      {"MatMul", matmul},
      {"Max", variadic<at::maximum>},
      {"Min", variadic<at::minimum>},
      {"Mod", mod},
      {"Mul", binary<at::mul>},
      {"Neg", unary<at::neg>},
      {"Not", unary<at::logical_not>},
      {"Or", binary<at::logical_or>},
      {"PRelu", prelu},
      {"Pow", power},
      {"Reciprocal", unary<at::reciprocal>},
      {"ReduceL2", reduce<l2_norm>},
      {"ReduceMax", reduce<maximum_of>},
      {"ReduceMean", reduce<mean>},
      {"ReduceMin", reduce<minimum_of>},
      {"ReduceProd", reduce_product},
      {"ReduceSum", reduce<sum>},
      {"Relu", unary<relu>},
      {"Round", unary<at::round>},
      {"Sigmoid", unary<at::sigmoid>},
      {"Sign", unary<at::sign>},
      {"Softmax", softmax},
      {"Softplus", unary<softplus>},
      {"Sqrt", unary<at::sqrt>},
      {"Sub", binary<sub>},
      {"Sum", variadic<add>},
      {"Tanh", unary<at::tanh>},
      {"Where", where},
  };
  const auto it = table.find(op);
  return it == table.end() ? nullptr : it->second;
}

}  // namespace pare
