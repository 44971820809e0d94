// What operators compute on values known before the graph runs, so that shapes which exporters
// compute from Shape nodes, and scales computed from them, are followed.
//
// Elements of floating types are computed in double and rounded to the type after each node.
// Anything irregular (overflow, division by zero, an index out of range) leaves the value unknown.
#include <algorithm>
#include <cmath>
#include <optional>

#include "graph/operators.h"

namespace pare {
namespace {

size_t count_of(const KnownValue& v) {
  return is_floating(v.type) ? v.floats.size() : v.ints.size();
}

double as_double(const KnownValue& v, size_t i) {
  return is_floating(v.type) ? v.floats[i] : static_cast<double>(v.ints[i]);
}

double rounded_to(DType type, double x) {
  switch (type) {
    case DType::kFloat32:
      return static_cast<double>(static_cast<float>(x));
    case DType::kFloat16:
      return static_cast<double>(static_cast<float>(Float16(static_cast<float>(x))));
    case DType::kBFloat16:
      return static_cast<double>(static_cast<float>(BFloat16(static_cast<float>(x))));
    default:
      return x;
  }
}

// Whether the integer is a value of the type.
bool fits(DType type, int64_t x) {
  if (type == DType::kInt64) return true;
  if (type == DType::kBool) return x == 0 || x == 1;
  return x >= dtype_min(type) && x <= dtype_max(type);
}

std::optional<int64_t> integer_arithmetic(const std::string& op, int64_t a, int64_t b) {
  int64_t r = 0;
  if (op == "Add") return __builtin_add_overflow(a, b, &r) ? std::nullopt : std::optional(r);
  if (op == "Sub") return __builtin_sub_overflow(a, b, &r) ? std::nullopt : std::optional(r);
  if (op == "Mul") return __builtin_mul_overflow(a, b, &r) ? std::nullopt : std::optional(r);
  if (op == "Min") return std::min(a, b);
  if (op == "Max") return std::max(a, b);
  if (op == "And") return a & b;
  if (op == "Or") return a | b;
  if (op == "Div" || op == "Mod") {
    if (b == 0 || (a == INT64_MIN && b == -1)) return std::nullopt;
    if (op == "Div") return a / b;  // ONNX truncates, as C++ does
    r = a % b;                      // the sign of the divisor, as Python's
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
  }
  return std::nullopt;
}

std::optional<double> float_arithmetic(const std::string& op, double a, double b) {
  if (op == "Add") return a + b;
  if (op == "Sub") return a - b;
  if (op == "Mul") return a * b;
  if (op == "Div") return a / b;
  if (op == "Min") return std::min(a, b);
  if (op == "Max") return std::max(a, b);
  if (op == "Pow") return std::pow(a, b);
  return std::nullopt;
}

std::optional<bool> comparison(const std::string& op, double a, double b) {
  if (op == "Equal") return a == b;
  if (op == "Less") return a < b;
  if (op == "LessOrEqual") return a <= b;
  if (op == "Greater") return a > b;
  if (op == "GreaterOrEqual") return a >= b;
  return std::nullopt;
}

std::optional<double> float_function(const std::string& op, double a) {
  if (op == "Sqrt") return std::sqrt(a);
  if (op == "Neg") return -a;
  if (op == "Abs") return std::abs(a);
  if (op == "Floor") return std::floor(a);
  if (op == "Ceil") return std::ceil(a);
  if (op == "Round") return std::nearbyint(a);
  if (op == "Reciprocal") return 1.0 / a;
  if (op == "Exp") return std::exp(a);
  if (op == "Log") return std::log(a);
  return std::nullopt;
}

// Index into an input of shape `in` of element i of the output of shape `out`, broadcasting.
size_t broadcast_index(const Shape& in, const Shape& out, size_t i) {
  size_t index = 0;
  size_t stride = 1;
  for (size_t d = 0; d < out.size(); ++d) {
    const auto dim = static_cast<size_t>(out[out.size() - 1 - d]);
    const size_t place = i % dim;
    i /= dim;
    if (d >= in.size()) continue;
    const auto in_dim = static_cast<size_t>(in[in.size() - 1 - d]);
    if (in_dim != 1) index += place * stride;
    stride *= in_dim;
  }
  return index;
}

// Appends element i of `from`.
void append(KnownValue& to, const KnownValue& from, size_t i) {
  if (is_floating(from.type)) {
    to.floats.push_back(from.floats[i]);
  } else {
    to.ints.push_back(from.ints[i]);
  }
}

bool append_double(KnownValue& to, double x) {
  if (is_floating(to.type)) {
    to.floats.push_back(rounded_to(to.type, x));
    return true;
  }
  if (to.type == DType::kBool) {
    to.ints.push_back(x != 0.0 ? 1 : 0);
    return true;
  }
  // Casting to an integer truncates; beyond 2^62 nothing is a size.
  if (!(std::abs(x) < 0x1p62) || !fits(to.type, static_cast<int64_t>(x))) return false;
  to.ints.push_back(static_cast<int64_t>(x));
  return true;
}

bool evaluate_cast(const KnownValue& in, KnownValue& out) {
  for (size_t i = 0; i < count_of(in); ++i) {
    if (!is_floating(in.type) && !is_floating(out.type) && out.type != DType::kBool) {
      if (!fits(out.type, in.ints[i])) return false;
      out.ints.push_back(in.ints[i]);
    } else if (!append_double(out, as_double(in, i))) {
      return false;
    }
  }
  return true;
}

bool evaluate_unary(const std::string& op, const KnownValue& in, KnownValue& out) {
  for (size_t i = 0; i < count_of(in); ++i) {
    if (op == "Not") {
      out.ints.push_back(in.ints[i] == 0 ? 1 : 0);
      continue;
    }
    if (!is_floating(in.type) && std::abs(as_double(in, i)) >= 0x1p53) return false;
    const auto r = float_function(op, as_double(in, i));
    if (!r || !append_double(out, *r)) return false;
  }
  return true;
}

bool evaluate_binary(RuleContext& c, KnownValue& out) {
  const std::string& op = c.node().op;
  const bool compares = find_operator(c.node().domain, op)->rule == compare_rule;
  const auto count = static_cast<size_t>(element_count(out.shape));
  for (size_t i = 0; i < count; ++i) {
    const KnownValue& first = *c.known(0);
    const size_t at = broadcast_index(first.shape, out.shape, i);
    if (compares) {
      const KnownValue& b = *c.known(1);
      const auto r = comparison(op, as_double(first, at),
                                as_double(b, broadcast_index(b.shape, out.shape, i)));
      if (!r) return false;
      out.ints.push_back(*r ? 1 : 0);
      continue;
    }
    double real = as_double(first, at);
    int64_t whole = is_floating(first.type) ? 0 : first.ints[at];
    for (size_t k = 1; k < c.input_count(); ++k) {
      const KnownValue& b = *c.known(k);
      const size_t b_at = broadcast_index(b.shape, out.shape, i);
      if (is_floating(out.type)) {
        const auto r = float_arithmetic(op, real, as_double(b, b_at));
        if (!r) return false;
        real = rounded_to(out.type, *r);
      } else {
        if (is_floating(b.type)) return false;
        const auto r = integer_arithmetic(op, whole, b.ints[b_at]);
        if (!r || !fits(out.type, *r)) return false;
        whole = *r;
      }
    }
    if (is_floating(out.type)) {
      out.floats.push_back(real);
    } else {
      out.ints.push_back(whole);
    }
  }
  return true;
}

bool evaluate_where(RuleContext& c, KnownValue& out) {
  const auto count = static_cast<size_t>(element_count(out.shape));
  for (size_t i = 0; i < count; ++i) {
    const KnownValue& condition = *c.known(0);
    const bool yes = condition.ints[broadcast_index(condition.shape, out.shape, i)] != 0;
    const KnownValue& branch = *c.known(yes ? 1 : 2);
    append(out, branch, broadcast_index(branch.shape, out.shape, i));
  }
  return true;
}

// Elements along the axis of Gather, Slice and Concat: the input seen as outer × axis × inner.
struct Blocks {
  size_t outer = 1;
  size_t inner = 1;
};

Blocks blocks_around(const Shape& shape, size_t axis) {
  Blocks blocks;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (d < axis) blocks.outer *= static_cast<size_t>(shape[d]);
    if (d > axis) blocks.inner *= static_cast<size_t>(shape[d]);
  }
  return blocks;
}

size_t axis_of(const RuleContext& c, int64_t fallback) {
  const int64_t axis = c.node().int_attribute("axis", fallback);
  return static_cast<size_t>(axis < 0 ? axis + c.rank(0) : axis);
}

bool evaluate_gather(RuleContext& c, KnownValue& out) {
  const KnownValue& data = *c.known(0);
  const size_t axis = axis_of(c, 0);
  const int64_t dim = data.shape[axis];
  const auto [outer, inner] = blocks_around(data.shape, axis);
  for (size_t o = 0; o < outer; ++o) {
    for (int64_t index : c.known(1)->ints) {
      const auto place = static_cast<size_t>(index < 0 ? index + dim : index);
      for (size_t i = 0; i < inner; ++i) {
        append(out, data, (o * static_cast<size_t>(dim) + place) * inner + i);
      }
    }
  }
  return true;
}

bool evaluate_slice(RuleContext& c, KnownValue& out) {
  auto ranges = slice_ranges(c);
  if (!ranges.ok()) return false;
  const KnownValue& data = *c.known(0);
  const auto count = static_cast<size_t>(element_count(out.shape));
  for (size_t i = 0; i < count; ++i) {
    size_t rest = i;
    size_t stride = 1;
    size_t index = 0;
    for (size_t d = out.shape.size(); d-- > 0;) {
      const auto place = static_cast<int64_t>(rest % static_cast<size_t>(out.shape[d]));
      rest /= static_cast<size_t>(out.shape[d]);
      const SliceRange& range = (*ranges)[d];
      index += static_cast<size_t>(range.start + place * range.step) * stride;
      stride *= static_cast<size_t>(data.shape[d]);
    }
    append(out, data, index);
  }
  return true;
}

bool evaluate_concat(RuleContext& c, KnownValue& out) {
  const size_t axis = axis_of(c, 0);
  const size_t outer = blocks_around(out.shape, axis).outer;
  for (size_t o = 0; o < outer; ++o) {
    for (size_t k = 0; k < c.input_count(); ++k) {
      const KnownValue& part = *c.known(k);
      const size_t run = count_of(part) / outer;
      for (size_t i = 0; i < run; ++i) append(out, part, o * run + i);
    }
  }
  return true;
}

bool evaluate_split(RuleContext& c, std::vector<KnownValue>& outputs) {
  const size_t axis = axis_of(c, 0);
  const KnownValue& data = *c.known(0);
  const auto [outer, inner] = blocks_around(data.shape, axis);
  size_t start = 0;
  for (KnownValue& out : outputs) {
    const auto length = static_cast<size_t>(out.shape[axis]);
    for (size_t o = 0; o < outer; ++o) {
      const size_t begin = (o * static_cast<size_t>(data.shape[axis]) + start) * inner;
      for (size_t i = 0; i < length * inner; ++i) append(out, data, begin + i);
    }
    start += length;
  }
  return true;
}

bool evaluate_transpose(RuleContext& c, KnownValue& out) {
  const KnownValue& data = *c.known(0);
  if (data.shape.size() > 1) return false;  // no shape computation needs it
  out.ints = data.ints;
  out.floats = data.floats;
  return true;
}

bool evaluate_reduce(RuleContext& c, KnownValue& out) {
  const KnownValue& data = *c.known(0);
  if (element_count(out.shape) != 1 || count_of(data) == 0) return false;
  const std::string& op = c.node().op;
  const std::string step = op == "ReduceProd"  ? "Mul"
                           : op == "ReduceSum" ? "Add"
                           : op == "ReduceMax" ? "Max"
                           : op == "ReduceMin" ? "Min"
                                               : "";
  double real = as_double(data, 0);
  int64_t whole = is_floating(data.type) ? 0 : data.ints[0];
  for (size_t i = 1; i < count_of(data); ++i) {
    if (is_floating(data.type)) {
      const auto r = float_arithmetic(step, real, data.floats[i]);
      if (!r) return false;
      real = *r;
    } else {
      const auto r = integer_arithmetic(step, whole, data.ints[i]);
      if (!r || !fits(data.type, *r)) return false;
      whole = *r;
    }
  }
  if (step.empty()) return false;
  if (is_floating(data.type)) return append_double(out, real);
  out.ints.push_back(whole);
  return true;
}

bool evaluate_range(RuleContext& c, KnownValue& out) {
  const auto count = element_count(out.shape);
  for (int64_t i = 0; i < count; ++i) {
    const auto n = static_cast<double>(i);
    if (is_floating(out.type)) {
      append_double(out, as_double(*c.known(0), 0) + n * as_double(*c.known(2), 0));
    } else {
      const auto way = integer_arithmetic("Mul", i, c.known(2)->ints[0]);
      const auto at = way ? integer_arithmetic("Add", c.known(0)->ints[0], *way) : way;
      if (!at || !fits(out.type, *at)) return false;
      out.ints.push_back(*at);
    }
  }
  return true;
}

bool evaluate_constant_of_shape(RuleContext& c, KnownValue& out) {
  const auto it = c.node().attributes.find("value");
  KnownValue value{DType::kFloat32, {}, {}, {0.0}};
  if (it != c.node().attributes.end() && !known_from_tensor(std::get<Tensor>(it->second), value)) {
    return false;
  }
  const auto count = element_count(out.shape);
  for (int64_t i = 0; i < count; ++i) append(out, value, 0);
  return true;
}

bool evaluate_sizes(RuleContext& c, KnownValue& out) {
  const Shape& in = c.shape(0);
  if (c.node().op == "Size") {
    out.ints = {element_count(in)};
    return true;
  }
  const auto rank = static_cast<int64_t>(in.size());
  const int64_t start = c.node().int_attribute("start", 0);
  const int64_t first = std::clamp<int64_t>(start < 0 ? start + rank : start, 0, rank);
  const auto count = element_count(out.shape);
  for (int64_t i = 0; i < count; ++i) out.ints.push_back(in[static_cast<size_t>(first + i)]);
  return true;
}

bool evaluate_expand(const KnownValue& in, KnownValue& out) {
  const auto count = static_cast<size_t>(element_count(out.shape));
  for (size_t i = 0; i < count; ++i) append(out, in, broadcast_index(in.shape, out.shape, i));
  return true;
}

// Identity, Reshape, Squeeze, Unsqueeze, Flatten: the same elements in the same order.
bool keeps_elements(const std::string& op) {
  return op == "Identity" || op == "Reshape" || op == "Squeeze" || op == "Unsqueeze" ||
         op == "Flatten";
}

bool evaluate_first(RuleContext& c, KnownValue& out) {
  const std::string& op = c.node().op;
  if (keeps_elements(op)) {
    out.ints = c.known(0)->ints;
    out.floats = c.known(0)->floats;
    return true;
  }
  if (op == "Cast") return evaluate_cast(*c.known(0), out);
  if (op == "Gather") return evaluate_gather(c, out);
  if (op == "Slice") return evaluate_slice(c, out);
  if (op == "Concat") return evaluate_concat(c, out);
  if (op == "Transpose") return evaluate_transpose(c, out);
  if (op == "Where") return evaluate_where(c, out);
  if (op == "Expand") return evaluate_expand(*c.known(0), out);
  if (op == "Range") return evaluate_range(c, out);
  if (op == "ConstantOfShape") return evaluate_constant_of_shape(c, out);
  if (op.starts_with("Reduce")) return evaluate_reduce(c, out);
  const ShapeRule rule = find_operator(c.node().domain, op)->rule;
  if (op == "Not" || rule == float_unary_rule || rule == same_as_input_rule) {
    return c.input_count() == 1 && evaluate_unary(op, *c.known(0), out);
  }
  if (rule == arithmetic_rule || rule == compare_rule || rule == logic_rule || rule == pow_rule) {
    return evaluate_binary(c, out);
  }
  return false;
}

}  // namespace

bool evaluate_known(RuleContext& c, std::vector<KnownValue>& outputs) {
  outputs.clear();
  for (const ValueInfo& info : c.outputs()) {
    if (info.name.empty() || element_count(info.shape) > kMaxKnownElements) return false;
    outputs.push_back({info.type, info.shape, {}, {}});
  }
  if (!c.node().domain.empty() || outputs.empty()) return false;
  if (c.node().op == "Shape" || c.node().op == "Size") return evaluate_sizes(c, outputs[0]);
  for (size_t i = 0; i < c.input_count(); ++i) {
    if (c.has(i) && c.known(i) == nullptr) return false;
  }
  if (c.node().op == "Split") return evaluate_split(c, outputs);
  return outputs.size() == 1 && evaluate_first(c, outputs[0]);
}

bool known_from_tensor(const Tensor& tensor, KnownValue& value) {
  if (tensor.size() > kMaxKnownElements) return false;
  value = {tensor.type(), tensor.shape(), {}, {}};
  if (is_floating(tensor.type())) {
    const std::vector<float> floats = to_float_vector(tensor);
    value.floats.assign(floats.begin(), floats.end());
    return true;
  }
  auto ints = to_int64_vector(tensor);
  if (!ints.ok()) return false;
  value.ints = *std::move(ints);
  return true;
}

namespace {

template <typename T>
Tensor tensor_of(const KnownValue& value) {
  Tensor out(value.type, value.shape);
  auto dst = out.mutable_values<T>();
  for (size_t i = 0; i < dst.size(); ++i) {
    if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>) {
      dst[i] = T(static_cast<float>(value.floats[i]));
    } else if constexpr (std::is_floating_point_v<T>) {
      dst[i] = static_cast<T>(value.floats[i]);
    } else {
      dst[i] = static_cast<T>(value.ints[i]);
    }
  }
  return out;
}

}  // namespace

Tensor tensor_from_known(const KnownValue& value) {
  switch (value.type) {
    case DType::kFloat32:
      return tensor_of<float>(value);
    case DType::kFloat16:
      return tensor_of<Float16>(value);
    case DType::kBFloat16:
      return tensor_of<BFloat16>(value);
    case DType::kFloat64:
      return tensor_of<double>(value);
    case DType::kInt8:
      return tensor_of<int8_t>(value);
    case DType::kUInt8:
      return tensor_of<uint8_t>(value);
    case DType::kInt16:
      return tensor_of<int16_t>(value);
    case DType::kUInt16:
      return tensor_of<uint16_t>(value);
    case DType::kInt32:
      return tensor_of<int32_t>(value);
    case DType::kBool:
      return tensor_of<bool>(value);
    case DType::kInt4:
    case DType::kUInt4: {
      Tensor out(value.type, value.shape);
      std::byte* data = out.mutable_data();
      for (size_t i = 0; i < value.ints.size(); ++i) {
        set_int4(data, static_cast<int64_t>(i), static_cast<int32_t>(value.ints[i]));
      }
      return out;
    }
    case DType::kInt64:
      break;
  }
  return tensor_of<int64_t>(value);
}

}  // namespace pare
