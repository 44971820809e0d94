// Shape rules: elementwise operators, normalisations that keep the shape, quantisation.
#include <algorithm>

#include "graph/onnx_types.h"
#include "graph/operators.h"

namespace pare {
namespace {

Status expect_floating(const RuleContext& c, size_t i) {
  if (is_floating(c.type(i))) return ok_status();
  return c.fail("input {} is {}, expected a floating type", i, dtype_name(c.type(i)));
}

Status expect_same_type(const RuleContext& c, size_t i) {
  if (c.type(i) == c.type(0)) return ok_status();
  return c.fail("input {} is {}, expected {} like input 0", i, dtype_name(c.type(i)),
                dtype_name(c.type(0)));
}

Status expect_vector(const RuleContext& c, size_t i, int64_t length, const char* what) {
  if (c.shape(i) == Shape{length}) return ok_status();
  return c.fail("{} has shape {}, expected {}", what, shape_string(c.shape(i)), length);
}

}  // namespace

Result<Shape> broadcast_shapes(const RuleContext& c, const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    const int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1) {
      return c.fail("shapes {} and {} do not broadcast", shape_string(a), shape_string(b));
    }
    out[out.size() - 1 - i] = x == 1 ? y : x;
  }
  return out;
}

Status same_as_input_rule(RuleContext& c) {
  c.set(0, c.type(0), c.shape(0));
  return ok_status();
}

Status float_unary_rule(RuleContext& c) {
  PARE_RETURN_IF_ERROR(expect_floating(c, 0));
  return same_as_input_rule(c);
}

Status gelu_rule(RuleContext& c) {
  if (c.opset() < 20) {
    return c.fail("the operator is new in opset 20, the graph is of {}", c.opset());
  }
  const std::string form = c.node().string_attribute("approximate", "none");
  if (form != "none" && form != "tanh") {
    return c.fail("attribute approximate is '{}', expected none or tanh", form);
  }
  return float_unary_rule(c);
}

Status clip_rule(RuleContext& c) {
  for (size_t i = 1; i < 3; ++i) {
    if (!c.has(i)) continue;
    PARE_RETURN_IF_ERROR(expect_same_type(c, i));
    if (element_count(c.shape(i)) != 1 || c.rank(i) > 1) {
      return c.fail("bound {} has shape {}, expected one number", i, shape_string(c.shape(i)));
    }
  }
  return same_as_input_rule(c);
}

Status dropout_rule(RuleContext& c) {
  c.set(0, c.type(0), c.shape(0));
  c.set(1, DType::kBool, c.shape(0));
  return ok_status();
}

Status cast_rule(RuleContext& c) {
  const auto type = dtype_from_onnx(c.node().int_attribute("to", 0));
  if (!type) {
    return c.fail_unsupported("Pare has no type for ONNX's element type {}",
                              c.node().int_attribute("to", 0));
  }
  c.set(0, *type, c.shape(0));
  return ok_status();
}

Status arithmetic_rule(RuleContext& c) {
  Shape shape = c.shape(0);
  for (size_t i = 1; i < c.input_count(); ++i) {
    PARE_RETURN_IF_ERROR(expect_same_type(c, i));
    PARE_ASSIGN_OR_RETURN(shape, broadcast_shapes(c, shape, c.shape(i)));
  }
  c.set(0, c.type(0), std::move(shape));
  return ok_status();
}

Status compare_rule(RuleContext& c) {
  PARE_RETURN_IF_ERROR(arithmetic_rule(c));
  c.set(0, DType::kBool, Shape(c.outputs()[0].shape));
  return ok_status();
}

Status logic_rule(RuleContext& c) {
  if (c.type(0) != DType::kBool) {
    return c.fail("input 0 is {}, expected bool", dtype_name(c.type(0)));
  }
  return arithmetic_rule(c);
}

Status pow_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(Shape shape, broadcast_shapes(c, c.shape(0), c.shape(1)));
  c.set(0, c.type(0), std::move(shape));
  return ok_status();
}

Status prelu_rule(RuleContext& c) {
  PARE_RETURN_IF_ERROR(expect_same_type(c, 1));
  PARE_ASSIGN_OR_RETURN(Shape shape, broadcast_shapes(c, c.shape(0), c.shape(1)));
  if (shape != c.shape(0)) {
    return c.fail("slope of {} does not broadcast to {}", shape_string(c.shape(1)),
                  shape_string(c.shape(0)));
  }
  c.set(0, c.type(0), std::move(shape));
  return ok_status();
}

Status where_rule(RuleContext& c) {
  if (c.type(0) != DType::kBool) {
    return c.fail("the condition is {}, expected bool", dtype_name(c.type(0)));
  }
  if (c.type(1) != c.type(2)) {
    return c.fail("branches of {} and {}, expected one type", dtype_name(c.type(1)),
                  dtype_name(c.type(2)));
  }
  PARE_ASSIGN_OR_RETURN(const Shape branches, broadcast_shapes(c, c.shape(1), c.shape(2)));
  PARE_ASSIGN_OR_RETURN(Shape shape, broadcast_shapes(c, c.shape(0), branches));
  c.set(0, c.type(1), std::move(shape));
  return ok_status();
}

Status softmax_rule(RuleContext& c) {
  PARE_RETURN_IF_ERROR(expect_floating(c, 0));
  PARE_ASSIGN_OR_RETURN([[maybe_unused]] const int64_t axis,
                        normalised_axis(c, c.node().int_attribute("axis", -1), c.rank(0)));
  return same_as_input_rule(c);
}

Status batch_norm_rule(RuleContext& c) {
  static constexpr const char* kNames[] = {"", "scale", "bias", "mean", "variance"};
  PARE_RETURN_IF_ERROR(expect_floating(c, 0));
  if (c.node().int_attribute("training_mode", 0) != 0) {
    return c.fail_unsupported("training_mode is not supported in a graph to be run");
  }
  if (c.rank(0) < 2) {
    return c.fail("input of {}, expected NxC...", shape_string(c.shape(0)));
  }
  for (size_t i = 1; i < 5; ++i) {
    PARE_RETURN_IF_ERROR(expect_floating(c, i));
    PARE_RETURN_IF_ERROR(expect_vector(c, i, c.shape(0)[1], kNames[i]));
  }
  return same_as_input_rule(c);
}

Status layer_norm_rule(RuleContext& c) {
  PARE_RETURN_IF_ERROR(expect_floating(c, 0));
  PARE_ASSIGN_OR_RETURN(const int64_t axis,
                        normalised_axis(c, c.node().int_attribute("axis", -1), c.rank(0)));
  const Shape normalised(c.shape(0).begin() + axis, c.shape(0).end());
  for (size_t i = 1; i < 3 && c.has(i); ++i) {
    PARE_RETURN_IF_ERROR(expect_same_type(c, i));
    PARE_ASSIGN_OR_RETURN(const Shape shape, broadcast_shapes(c, normalised, c.shape(i)));
    if (shape != normalised) {
      return c.fail("{} has shape {}, expected {}", i == 1 ? "scale" : "bias",
                    shape_string(c.shape(i)), shape_string(normalised));
    }
  }
  Shape statistics = c.shape(0);
  std::fill(statistics.begin() + axis, statistics.end(), 1);
  c.set(1, DType::kFloat32, statistics);
  c.set(2, DType::kFloat32, statistics);
  return same_as_input_rule(c);
}

Status lrn_rule(RuleContext& c) {
  PARE_RETURN_IF_ERROR(expect_floating(c, 0));
  if (c.rank(0) < 2 || c.node().int_attribute("size", 0) < 1) {
    return c.fail("input of {} and size {}, expected NxC... and at least 1",
                  shape_string(c.shape(0)), c.node().int_attribute("size", 0));
  }
  return same_as_input_rule(c);
}

namespace {

// Scales in blocks along an axis: the input's shape, but one for `block` elements on that axis.
Status check_blocks(const RuleContext& c, int64_t block) {
  if (block < 0) return c.fail("block_size is {}", block);
  PARE_ASSIGN_OR_RETURN(const int64_t axis,
                        normalised_axis(c, c.node().int_attribute("axis", 1), c.rank(0)));
  Shape expected = c.shape(0);
  int64_t& along = expected[static_cast<size_t>(axis)];
  along = along / block + (along % block == 0 ? 0 : 1);
  if (c.shape(1) != expected) {
    return c.fail("scale of {}, expected {}: blocks of {} on axis {} of {}",
                  shape_string(c.shape(1)), shape_string(expected), block, axis,
                  shape_string(c.shape(0)));
  }
  return ok_status();
}

// The scale's (and zero point's) form: one number, one for each place along an axis, or, of
// constants (opset 21), one for each block along it.
Status check_scale(const RuleContext& c) {
  const Shape& scale = c.shape(1);
  if (!is_floating(c.type(1))) return c.fail("the scale is {}", dtype_name(c.type(1)));
  if (c.has(2) && c.shape(2) != scale) {
    return c.fail("zero point of {}, expected {} like the scale", shape_string(c.shape(2)),
                  shape_string(scale));
  }
  if (const int64_t block = c.node().int_attribute("block_size", 0); block != 0) {
    return check_blocks(c, block);
  }
  if (element_count(scale) == 1 && scale.size() <= 1) return ok_status();
  PARE_ASSIGN_OR_RETURN(const int64_t axis,
                        normalised_axis(c, c.node().int_attribute("axis", 1), c.rank(0)));
  if (scale != Shape{c.shape(0)[static_cast<size_t>(axis)]}) {
    return c.fail("scale of {} for axis {} of {}", shape_string(scale), axis,
                  shape_string(c.shape(0)));
  }
  return ok_status();
}

bool is_quantised_type(DType type) {
  return !is_floating(type) && type != DType::kBool && type != DType::kInt64;
}

}  // namespace

Status quantize_rule(RuleContext& c) {
  PARE_RETURN_IF_ERROR(check_scale(c));
  DType type = DType::kUInt8;
  if (const int64_t wanted = c.node().int_attribute("output_dtype", 0); wanted != 0) {
    const auto found = dtype_from_onnx(wanted);
    if (!found || (c.has(2) && *found != c.type(2))) {
      return c.fail("output_dtype {} does not fit the zero point's type", wanted);
    }
    type = *found;
  }
  if (c.has(2)) type = c.type(2);
  if (!is_quantised_type(type)) {
    return c.fail("quantising to {} is not possible", dtype_name(type));
  }
  if (!is_floating(c.type(0)) && c.type(0) != DType::kInt32) {
    return c.fail("input is {}, expected a floating type", dtype_name(c.type(0)));
  }
  c.set(0, type, c.shape(0));
  return ok_status();
}

Status dequantize_rule(RuleContext& c) {
  PARE_RETURN_IF_ERROR(check_scale(c));
  if (!is_quantised_type(c.type(0))) {
    return c.fail("input is {}, expected a quantised type", dtype_name(c.type(0)));
  }
  if (c.has(2) && c.type(2) != c.type(0)) {
    return c.fail("zero point is {}, expected {} like the input", dtype_name(c.type(2)),
                  dtype_name(c.type(0)));
  }
  c.set(0, c.type(1), c.shape(0));
  return ok_status();
}

Status dynamic_quantize_rule(RuleContext& c) {
  if (c.type(0) != DType::kFloat32) {
    return c.fail("input is {}, expected float32", dtype_name(c.type(0)));
  }
  c.set(0, DType::kUInt8, c.shape(0));
  c.set(1, DType::kFloat32, {});
  c.set(2, DType::kUInt8, {});
  return ok_status();
}

}  // namespace pare
