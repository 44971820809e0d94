// Shape rules: operators that move elements about, and those that make values of shapes.
#include <algorithm>
#include <cmath>

#include "graph/operators.h"

namespace pare {
namespace {

constexpr int64_t kMaxDimension = int64_t{1} << 40;

int64_t product(const Shape& shape, int64_t first, int64_t last) {
  int64_t n = 1;
  for (int64_t i = first; i < last; ++i) n *= shape[static_cast<size_t>(i)];
  return n;
}

}  // namespace

Result<int64_t> normalised_axis(const RuleContext& c, int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) {
    return c.fail("axis {} does not exist in {} dimensions", axis, rank);
  }
  return axis < 0 ? axis + rank : axis;
}

Result<std::vector<int64_t>> normalised_axes(const RuleContext& c, std::vector<int64_t> axes,
                                             int64_t rank) {
  for (int64_t& axis : axes) {
    PARE_ASSIGN_OR_RETURN(axis, normalised_axis(c, axis, rank));
  }
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) {
    return c.fail("an axis is named twice");
  }
  return axes;
}

Result<std::vector<int64_t>> axes_of(const RuleContext& c) {
  const std::string& op = c.node().op;
  // ReduceSum, Squeeze and Unsqueeze changed in opset 13 already.
  const bool as_input =
      c.opset() >= 18 || op == "ReduceSum" || op == "Squeeze" || op == "Unsqueeze";
  if (as_input ? c.node().attributes.contains("axes") : c.has(1)) {
    return c.fail("in opset {} axes are {}", c.opset(),
                  as_input ? "input 1, not an attribute" : "an attribute, not an input");
  }
  if (c.has(1)) return c.ints(1, "axes");
  return c.node().ints_attribute("axes");
}

Status flatten_rule(RuleContext& c) {
  const int64_t rank = c.rank(0);
  int64_t axis = c.node().int_attribute("axis", 1);
  if (axis < -rank || axis > rank) {
    return c.fail("axis {} does not exist in {} dimensions", axis, rank);
  }
  if (axis < 0) axis += rank;
  c.set(0, c.type(0), {product(c.shape(0), 0, axis), product(c.shape(0), axis, rank)});
  return ok_status();
}

Status reshape_rule(RuleContext& c) {
  const Shape& in = c.shape(0);
  PARE_ASSIGN_OR_RETURN(Shape out, c.ints(1, "the new shape"));
  const Shape target = out;
  const bool keep_zero = c.node().int_attribute("allowzero", 0) != 0;
  int64_t open = -1;
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] == 0 && !keep_zero) {
      if (i >= in.size()) return c.fail("dimension {} of {} is not there", i, shape_string(in));
      out[i] = in[i];
    } else if (out[i] == -1 && open < 0) {
      open = static_cast<int64_t>(i);
    } else if (out[i] < 0 || out[i] > kMaxDimension) {
      return c.fail("the new shape's dimension {} is {}", i, out[i]);
    }
  }
  const int64_t count = element_count(in);
  if (open >= 0) {
    Shape others = out;
    others.erase(others.begin() + open);
    PARE_ASSIGN_OR_RETURN(const int64_t known, checked_element_count(others));
    if (known == 0 || count % known != 0) {
      return c.fail("input of {} does not divide into {}", shape_string(in), shape_string(target));
    }
    out[static_cast<size_t>(open)] = count / known;
  }
  PARE_ASSIGN_OR_RETURN(const int64_t wanted, checked_element_count(out));
  if (wanted != count) {
    return c.fail("input of {} has {} elements, the new shape {} wants {}", shape_string(in), count,
                  shape_string(target), wanted);
  }
  c.set(0, c.type(0), std::move(out));
  return ok_status();
}

Status transpose_rule(RuleContext& c) {
  std::vector<int64_t> perm = c.node().ints_attribute("perm");
  if (!c.node().attributes.contains("perm")) {
    for (int64_t i = c.rank(0) - 1; i >= 0; --i) perm.push_back(i);
  }
  // Looked at whole before it is used: a first dimension may already be out of range.
  std::vector<int64_t> sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  bool order = perm.size() == c.shape(0).size();
  for (size_t i = 0; i < sorted.size(); ++i) {
    order = order && sorted[i] == static_cast<int64_t>(i);
  }
  if (!order) {
    return c.fail("perm of {} values is not an order of {} dimensions", perm.size(), c.rank(0));
  }
  Shape out;
  for (const int64_t d : perm) out.push_back(c.shape(0)[static_cast<size_t>(d)]);
  c.set(0, c.type(0), std::move(out));
  return ok_status();
}

Status concat_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(const int64_t axis,
                        normalised_axis(c, c.node().int_attribute("axis", 0), c.rank(0)));
  Shape out = c.shape(0);
  const auto a = static_cast<size_t>(axis);
  for (size_t i = 1; i < c.input_count(); ++i) {
    Shape expected = c.shape(i);
    if (expected.size() == out.size()) expected[a] = out[a];
    if (expected != out || c.type(i) != c.type(0)) {
      return c.fail("input {} of {} {} does not fit {} {} along axis {}", i, dtype_name(c.type(i)),
                    shape_string(c.shape(i)), dtype_name(c.type(0)), shape_string(out), axis);
    }
    out[a] += c.shape(i)[a];
  }
  c.set(0, c.type(0), std::move(out));
  return ok_status();
}

Status split_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(const int64_t axis,
                        normalised_axis(c, c.node().int_attribute("axis", 0), c.rank(0)));
  const int64_t total = c.shape(0)[static_cast<size_t>(axis)];
  const auto parts = static_cast<int64_t>(c.output_count());
  std::vector<int64_t> sizes;
  if (c.has(1)) {
    PARE_ASSIGN_OR_RETURN(sizes, c.ints(1, "the sizes of the parts"));
  } else {
    const bool states_number = c.node().attributes.contains("num_outputs");
    if (states_number != (c.opset() >= 18) ||
        c.node().int_attribute("num_outputs", parts) != parts) {
      return c.fail(
          "num_outputs is {}, with {} outputs and opset {}",
          states_number ? std::to_string(c.node().int_attribute("num_outputs", 0)) : "absent",
          parts, c.opset());
    }
    if (!states_number && total % parts != 0) {
      return c.fail("an axis of {} does not split into {} equal parts", total, parts);
    }
    // The last part is the smaller one.
    const int64_t each = (total + parts - 1) / parts;
    sizes.assign(static_cast<size_t>(parts), each);
    sizes.back() = total - each * (parts - 1);
  }
  int64_t sum = 0;
  for (int64_t size : sizes) {
    if (size < 0 || size > total) return c.fail("a part of {} in an axis of {}", size, total);
    sum += size;
  }
  if (sum != total || static_cast<int64_t>(sizes.size()) != parts) {
    return c.fail("{} parts with {} places in all for {} outputs and an axis of {}", sizes.size(),
                  sum, parts, total);
  }
  for (size_t i = 0; i < sizes.size(); ++i) {
    Shape out = c.shape(0);
    out[static_cast<size_t>(axis)] = sizes[i];
    c.set(i, c.type(0), std::move(out));
  }
  return ok_status();
}

Result<std::vector<SliceRange>> slice_ranges(const RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(const auto starts, c.ints(1, "starts"));
  PARE_ASSIGN_OR_RETURN(const auto ends, c.ints(2, "ends"));
  std::vector<int64_t> axes;
  std::vector<int64_t> steps(starts.size(), 1);
  for (size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  if (c.has(3)) {
    PARE_ASSIGN_OR_RETURN(axes, c.ints(3, "axes"));
  }
  if (c.has(4)) {
    PARE_ASSIGN_OR_RETURN(steps, c.ints(4, "steps"));
  }
  if (ends.size() != starts.size() || axes.size() != starts.size() ||
      steps.size() != starts.size()) {
    return c.fail("{} starts, {} ends, {} axes and {} steps", starts.size(), ends.size(),
                  axes.size(), steps.size());
  }
  std::vector<SliceRange> ranges;
  for (int64_t d : c.shape(0)) ranges.push_back({0, 1, d});
  for (size_t i = 0; i < axes.size(); ++i) {
    PARE_ASSIGN_OR_RETURN(const int64_t axis, normalised_axis(c, axes[i], c.rank(0)));
    const int64_t dim = c.shape(0)[static_cast<size_t>(axis)];
    const int64_t step = steps[i];
    if (step == 0) return c.fail("a step of 0 along axis {}", axis);
    const bool forward = step > 0;
    const auto clamped = [&](int64_t v) {
      if (v < 0) v = v < -dim ? -1 : v + dim;  // -1: before the beginning
      return forward ? std::clamp<int64_t>(v, 0, dim) : std::clamp<int64_t>(v, -1, dim - 1);
    };
    SliceRange& range = ranges[static_cast<size_t>(axis)];
    range.start = clamped(starts[i]);
    const int64_t end = clamped(ends[i]);
    const int64_t distance = forward ? end - range.start : range.start - end;
    // A step longer than the axis takes one element; the bound keeps -step from overflowing.
    const int64_t length =
        std::min(forward ? step : -std::max(step, -kMaxDimension), kMaxDimension);
    range.step = forward ? length : -length;
    range.count = distance <= 0 ? 0 : (distance + length - 1) / length;
  }
  return ranges;
}

Status slice_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(const auto ranges, slice_ranges(c));
  Shape out;
  for (const SliceRange& range : ranges) out.push_back(range.count);
  c.set(0, c.type(0), std::move(out));
  return ok_status();
}

Status gather_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(const int64_t axis,
                        normalised_axis(c, c.node().int_attribute("axis", 0), c.rank(0)));
  if (c.type(1) != DType::kInt64 && c.type(1) != DType::kInt32) {
    return c.fail("indices are {}, expected int32 or int64", dtype_name(c.type(1)));
  }
  const Shape& in = c.shape(0);
  if (const KnownValue* indices = c.known(1); indices != nullptr) {
    const int64_t dim = in[static_cast<size_t>(axis)];
    for (int64_t i : indices->ints) {
      if (i < -dim || i >= dim) return c.fail("index {} is outside an axis of {}", i, dim);
    }
  }
  Shape out(in.begin(), in.begin() + axis);
  out.insert(out.end(), c.shape(1).begin(), c.shape(1).end());
  out.insert(out.end(), in.begin() + axis + 1, in.end());
  c.set(0, c.type(0), std::move(out));
  return ok_status();
}

Status squeeze_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(std::vector<int64_t> axes, axes_of(c));
  if (axes.empty()) {
    for (int64_t i = 0; i < c.rank(0); ++i) {
      if (c.shape(0)[static_cast<size_t>(i)] == 1) axes.push_back(i);
    }
  }
  PARE_ASSIGN_OR_RETURN(axes, normalised_axes(c, std::move(axes), c.rank(0)));
  Shape out = c.shape(0);
  for (auto it = axes.rbegin(); it != axes.rend(); ++it) {
    if (out[static_cast<size_t>(*it)] != 1) {
      return c.fail("axis {} of {} is not 1", *it, shape_string(c.shape(0)));
    }
    out.erase(out.begin() + *it);
  }
  c.set(0, c.type(0), std::move(out));
  return ok_status();
}

Status unsqueeze_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(std::vector<int64_t> axes, axes_of(c));
  const int64_t rank = c.rank(0) + static_cast<int64_t>(axes.size());
  PARE_ASSIGN_OR_RETURN(axes, normalised_axes(c, std::move(axes), rank));
  Shape out = c.shape(0);
  for (int64_t axis : axes) out.insert(out.begin() + axis, 1);
  c.set(0, c.type(0), std::move(out));
  return ok_status();
}

Status expand_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(const Shape target, c.ints(1, "the new shape"));
  PARE_RETURN_IF_ERROR(checked_element_count(target).status());
  PARE_ASSIGN_OR_RETURN(Shape out, broadcast_shapes(c, c.shape(0), target));
  c.set(0, c.type(0), std::move(out));
  return ok_status();
}

Status tile_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(const auto repeats, c.ints(1, "repeats"));
  Shape out = c.shape(0);
  if (repeats.size() != out.size()) {
    return c.fail("{} repeats for {} dimensions", repeats.size(), out.size());
  }
  for (size_t i = 0; i < out.size(); ++i) {
    if (repeats[i] < 0 || __builtin_mul_overflow(out[i], repeats[i], &out[i])) {
      return c.fail("dimension {} of {} repeated {} times", i, shape_string(c.shape(0)),
                    repeats[i]);
    }
  }
  c.set(0, c.type(0), std::move(out));
  return ok_status();
}

Status pad_rule(RuleContext& c) {
  const std::string mode = c.node().string_attribute("mode", "constant");
  if (mode != "constant") {
    return c.fail_unsupported("mode '{}' is not supported, only 'constant'", mode);
  }
  PARE_ASSIGN_OR_RETURN(const auto pads, c.ints(1, "pads"));
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < c.rank(0); ++i) axes.push_back(i);
  if (c.has(3)) {
    PARE_ASSIGN_OR_RETURN(axes, c.ints(3, "axes"));
  }
  if (pads.size() != 2 * axes.size()) {
    return c.fail("{} pads for {} axes, expected two for each", pads.size(), axes.size());
  }
  Shape out = c.shape(0);
  for (size_t i = 0; i < axes.size(); ++i) {
    PARE_ASSIGN_OR_RETURN(const int64_t axis, normalised_axis(c, axes[i], c.rank(0)));
    int64_t& dim = out[static_cast<size_t>(axis)];
    for (int64_t pad : {pads[i], pads[i + axes.size()]}) {
      if (pad < -kMaxDimension || pad > kMaxDimension) return c.fail("padding of {}", pad);
      dim += pad;
    }
    if (dim < 0) return c.fail("padding takes more than axis {} has", axis);
  }
  c.set(0, c.type(0), std::move(out));
  return ok_status();
}

Status shape_rule(RuleContext& c) {
  const int64_t rank = c.rank(0);
  const auto place = [&](int64_t v) { return std::clamp<int64_t>(v < 0 ? v + rank : v, 0, rank); };
  const int64_t start = place(c.node().int_attribute("start", 0));
  const int64_t end = place(c.node().int_attribute("end", rank));
  c.set(0, DType::kInt64, {std::max<int64_t>(end - start, 0)});
  return ok_status();
}

Status size_rule(RuleContext& c) {
  c.set(0, DType::kInt64, {});
  return ok_status();
}

Status constant_of_shape_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(Shape out, c.ints(0, "the shape"));
  PARE_RETURN_IF_ERROR(checked_element_count(out).status());
  const auto it = c.node().attributes.find("value");
  DType type = DType::kFloat32;
  if (it != c.node().attributes.end()) {
    const Tensor& value = std::get<Tensor>(it->second);
    if (value.size() != 1) return c.fail("value has {} elements, expected 1", value.size());
    type = value.type();
  }
  c.set(0, type, std::move(out));
  return ok_status();
}

Status range_rule(RuleContext& c) {
  double bounds[3] = {};
  for (size_t i = 0; i < 3; ++i) {
    const KnownValue* known = c.known(i);
    if (known == nullptr || known->ints.size() + known->floats.size() != 1 ||
        c.type(i) != c.type(0)) {
      return c.fail(
          "start, limit and step must be single numbers of one type, known before running");
    }
    bounds[i] = known->ints.empty() ? known->floats[0] : static_cast<double>(known->ints[0]);
  }
  const double count = std::max(0.0, std::ceil((bounds[1] - bounds[0]) / bounds[2]));
  if (bounds[2] == 0.0 || !(count <= static_cast<double>(kMaxDimension))) {
    return c.fail("from {} to {} in steps of {}", bounds[0], bounds[1], bounds[2]);
  }
  c.set(0, c.type(0), {static_cast<int64_t>(count)});
  return ok_status();
}

namespace {

Result<int64_t> block_size(const RuleContext& c) {
  const int64_t block = c.node().int_attribute("blocksize", 0);
  if (c.rank(0) != 4 || block < 1 || block > 4096) {
    return c.fail("input of {} with a block of {}, expected NxCxHxW and 1 to 4096",
                  shape_string(c.shape(0)), block);
  }
  return block;
}

}  // namespace

Status depth_to_space_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(const int64_t block, block_size(c));
  const Shape& in = c.shape(0);
  if (in[1] % (block * block) != 0) return c.fail("{} channels in blocks of {}", in[1], block);
  const std::string mode = c.node().string_attribute("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") return c.fail("mode '{}', expected DCR or CRD", mode);
  c.set(0, c.type(0), {in[0], in[1] / (block * block), in[2] * block, in[3] * block});
  return ok_status();
}

Status space_to_depth_rule(RuleContext& c) {
  PARE_ASSIGN_OR_RETURN(const int64_t block, block_size(c));
  const Shape& in = c.shape(0);
  if (in[2] % block != 0 || in[3] % block != 0) {
    return c.fail("an image of {} in blocks of {}", shape_string(in), block);
  }
  c.set(0, c.type(0), {in[0], in[1] * block * block, in[2] / block, in[3] / block});
  return ok_status();
}

}  // namespace pare
