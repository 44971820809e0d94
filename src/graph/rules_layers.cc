// Shape rules: convolutions, matrix products, attention, pooling and reductions.
#include <algorithm>

#include "graph/operators.h"
#include "graph/window.h"

namespace pare {
namespace {

Status conv_shape(RuleContext& c, DType type) {
  const Shape& x = c.shape(0);
  const Shape& w = c.shape(1);
  const int64_t group = c.node().int_attribute("group", 1);
  if (w.size() != 4 || x.size() != 4) {
    return c.fail_unsupported(
        "input of {} and weights of {}: only two-dimensional convolution is "
        "supported",
        shape_string(x), shape_string(w));
  }
  if (group < 1 || group > w[0] || w[0] % group != 0) {
    return c.fail("{} output channels cannot be split into {} groups", w[0], group);
  }
  if (x[1] % group != 0 || x[1] / group != w[1]) {
    return c.fail("weights of {} in {} groups expect {} channels, input of {} has {}",
                  shape_string(w), group, w[1] * group, shape_string(x), x[1]);
  }
  if (w[2] < 1 || w[3] < 1) return c.fail("weights of {} are empty", shape_string(w));
  PARE_ASSIGN_OR_RETURN(const Window window, resolve_window(c.node(), x, w[2], w[3]));
  c.set(0, type, {x[0], w[0], window.out_h, window.out_w});
  return ok_status();
}

bool is_byte(DType type) { return type == DType::kInt8 || type == DType::kUInt8; }

// The operands of an integer product: bytes, each with its zero point (inputs 2 and 3), one number
// or one for each of `a_places` or `b_places`.
Status check_integer_operands(const RuleContext& c, int64_t a_places, int64_t b_places) {
  if (!is_byte(c.type(0)) || !is_byte(c.type(1))) {
    return c.fail("inputs are {} and {}, expected 8-bit integers", dtype_name(c.type(0)),
                  dtype_name(c.type(1)));
  }
  for (size_t i = 2; i < 4; ++i) {
    if (!c.has(i)) continue;
    const int64_t places = i == 2 ? a_places : b_places;
    const int64_t count = element_count(c.shape(i));
    if (c.type(i) != c.type(i - 2) || (count != 1 && count != places)) {
      return c.fail("zero point {} is {} of {}, expected {} and 1 or {} of them", i,
                    dtype_name(c.type(i)), shape_string(c.shape(i)), dtype_name(c.type(i - 2)),
                    places);
    }
  }
  return ok_status();
}

Result<Shape> matmul_shape(const RuleContext& c) {
  Shape a = c.shape(0);
  Shape b = c.shape(1);
  if (a.empty() || b.empty()) return c.fail("a scalar cannot be multiplied as a matrix");
  const bool vector_a = a.size() == 1;
  const bool vector_b = b.size() == 1;
  if (vector_a) a.insert(a.begin(), 1);
  if (vector_b) b.push_back(1);
  if (a.back() != b[b.size() - 2]) {
    return c.fail("matrices of {} and {} do not fit: inner sizes {} and {}",
                  shape_string(c.shape(0)), shape_string(c.shape(1)), a.back(), b[b.size() - 2]);
  }
  PARE_ASSIGN_OR_RETURN(
      Shape out, broadcast_shapes(c, Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2)));
  if (!vector_a) out.push_back(a[a.size() - 2]);
  if (!vector_b) out.push_back(b.back());
  return out;
}

}  // namespace

Status conv_rule(RuleContext& c) {
  for (size_t i = 1; i < 3 && c.has(i); ++i) {
    if (c.type(i) != c.type(0) || !is_floating(c.type(0))) {
      return c.fail("input is {}, {} {}, expected one floating type", dtype_name(c.type(0)),
                    i == 1 ? "weights" : "bias", dtype_name(c.type(i)));
    }
  }
  if (c.has(2) && c.rank(1) > 0 && c.shape(2) != Shape{c.shape(1)[0]}) {
    return c.fail("bias of {}, expected {}", shape_string(c.shape(2)), c.shape(1)[0]);
  }
  return conv_shape(c, c.type(0));
}

Status conv_integer_rule(RuleContext& c) {
  PARE_RETURN_IF_ERROR(
      check_integer_operands(c, /*a_places=*/1, c.rank(1) > 0 ? c.shape(1)[0] : 1));
  return conv_shape(c, DType::kInt32);
}

Status gemm_rule(RuleContext& c) {
  Shape a = c.shape(0);
  Shape b = c.shape(1);
  if (a.size() != 2 || b.size() != 2) {
    return c.fail("inputs of {} and {}, expected two matrices", shape_string(a), shape_string(b));
  }
  if (c.type(0) != c.type(1) || (c.has(2) && c.type(2) != c.type(0))) {
    return c.fail("inputs of different types, {} and {}", dtype_name(c.type(0)),
                  dtype_name(c.type(c.type(0) != c.type(1) ? 1 : 2)));
  }
  if (c.node().int_attribute("transA", 0) != 0) std::swap(a[0], a[1]);
  if (c.node().int_attribute("transB", 0) != 0) std::swap(b[0], b[1]);
  if (a[1] != b[0]) {
    return c.fail("weights expect {} features, input of {} has {}", b[0], shape_string(c.shape(0)),
                  a[1]);
  }
  const Shape out = {a[0], b[1]};
  if (c.has(2)) {
    PARE_ASSIGN_OR_RETURN(const Shape shape, broadcast_shapes(c, out, c.shape(2)));
    if (shape != out) {
      return c.fail("bias of {} does not broadcast to {}", shape_string(c.shape(2)),
                    shape_string(out));
    }
  }
  c.set(0, c.type(0), out);
  return ok_status();
}

Status matmul_rule(RuleContext& c) {
  if (c.type(0) != c.type(1)) {
    return c.fail("inputs are {} and {}, expected one type", dtype_name(c.type(0)),
                  dtype_name(c.type(1)));
  }
  PARE_ASSIGN_OR_RETURN(Shape out, matmul_shape(c));
  c.set(0, c.type(0), std::move(out));
  return ok_status();
}

Status matmul_integer_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(Shape out, matmul_shape(c));
  const Shape& a = c.shape(0);
  const Shape& b = c.shape(1);
  PARE_RETURN_IF_ERROR(
      check_integer_operands(c, a.size() < 2 ? 1 : a[a.size() - 2], b.size() < 2 ? 1 : b.back()));
  c.set(0, DType::kInt32, std::move(out));
  return ok_status();
}

// internal_ops.md defines the operator.
Status attention_rule(RuleContext& c) {
  const int64_t heads = c.node().int_attribute("num_heads", 0);
  if (c.input_count() != 1 && c.input_count() != 3) {
    return c.fail("{} inputs, expected packed qkv or q, k and v", c.input_count());
  }
  for (size_t i = 0; i < c.input_count(); ++i) {
    if (!c.has(i)) return c.fail("input {} is left out", i);
    if (c.rank(i) != 3 || !is_floating(c.type(i)) || c.type(i) != c.type(0)) {
      return c.fail("input {} is {} of {}, expected a floating NxTxC", i, dtype_name(c.type(i)),
                    shape_string(c.shape(i)));
    }
  }
  Shape q = c.shape(0);
  if (c.input_count() == 1) {
    if (heads < 1 || q[2] % 3 != 0 || q[2] / 3 % heads != 0) {
      return c.fail("a packed width of {} is not 3 times {} heads", q[2], heads);
    }
    c.set(0, c.type(0), {q[0], q[1], q[2] / 3});
    return ok_status();
  }
  const Shape& k = c.shape(1);
  const Shape& v = c.shape(2);
  if (heads < 1 || q[2] % heads != 0 || v[2] % heads != 0) {
    return c.fail("widths of {} and {} do not split into {} heads", q[2], v[2], heads);
  }
  if (k[0] != q[0] || v[0] != q[0] || k[2] != q[2] || k[1] != v[1]) {
    return c.fail("q of {}, k of {} and v of {} do not fit", shape_string(q), shape_string(k),
                  shape_string(v));
  }
  c.set(0, c.type(0), {q[0], q[1], v[2]});
  return ok_status();
}

Status pool_rule(RuleContext& c) {
  if (c.node().op == "AveragePool" && !is_floating(c.type(0))) {
    return c.fail("input is {}, expected a floating type", dtype_name(c.type(0)));
  }
  PARE_ASSIGN_OR_RETURN(const Window window, resolve_window(c.node(), c.shape(0), 0, 0));
  if (window.pad_top >= window.kernel_h * window.dilation_h ||
      window.pad_left >= window.kernel_w * window.dilation_w ||
      window.pad_bottom >= window.kernel_h * window.dilation_h ||
      window.pad_right >= window.kernel_w * window.dilation_w) {
    return c.fail("the padding is not smaller than the window of {}x{}", window.kernel_h,
                  window.kernel_w);
  }
  c.set(0, c.type(0), {c.shape(0)[0], c.shape(0)[1], window.out_h, window.out_w});
  return ok_status();
}

Status global_pool_rule(RuleContext& c) {
  if (c.rank(0) < 3) return c.fail("input of {}, expected NxCxHxW", shape_string(c.shape(0)));
  Shape out = c.shape(0);
  std::fill(out.begin() + 2, out.end(), 1);
  c.set(0, c.type(0), std::move(out));
  return ok_status();
}

Status reduce_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(std::vector<int64_t> axes, axes_of(c));
  const bool keep = c.node().int_attribute("keepdims", 1) != 0;
  if (axes.empty() && c.node().int_attribute("noop_with_empty_axes", 0) == 0) {
    for (int64_t i = 0; i < c.rank(0); ++i) axes.push_back(i);
  }
  PARE_ASSIGN_OR_RETURN(axes, normalised_axes(c, std::move(axes), c.rank(0)));
  Shape out;
  for (int64_t i = 0; i < c.rank(0); ++i) {
    const bool reduced = std::binary_search(axes.begin(), axes.end(), i);
    if (!reduced) out.push_back(c.shape(0)[static_cast<size_t>(i)]);
    if (reduced && keep) out.push_back(1);
  }
  c.set(0, c.type(0), std::move(out));
  return ok_status();
}

Status arg_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(const int64_t axis,
                        normalised_axis(c, c.node().int_attribute("axis", 0), c.rank(0)));
  Shape out = c.shape(0);
  if (c.node().int_attribute("keepdims", 1) != 0) {
    out[static_cast<size_t>(axis)] = 1;
  } else {
    out.erase(out.begin() + axis);
  }
  c.set(0, DType::kInt64, std::move(out));
  return ok_status();
}

}  // namespace pare
