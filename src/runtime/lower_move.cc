// Lowering of operators that move elements to other places.
#include <fmt/format.h>

#include <memory>
#include <utility>

#include "kernels/elementwise/elementwise.h"
#include "kernels/move/move.h"
#include "runtime/lower.h"
#include "runtime/views.h"

namespace pare {
namespace {

int element_bytes(const View& view) { return dtype_bits(view.type) / 8; }

std::shared_ptr<MovePlan> move_plan(const View& src, const View& dst) {
  return std::make_shared<MovePlan>(MoveProblem{.element_bytes = element_bytes(src),
                                                .shape = src.shape,
                                                .src_strides = src.strides,
                                                .dst_strides = dst.strides});
}

// A step that copies `src` to `dst`, which have the same shape.
void emit_move(Lowering& lowering, const Node& node, const View& src, const View& dst) {
  Step step;
  step.layer = describe(node, "move_strided", "the only one");
  step.reads = {src.buffer};
  step.writes = {dst.buffer};
  step.run = [plan = move_plan(src, dst), src, dst](const StepContext& c) {
    plan->run(c.data(src), c.data(dst), c.pool());
    return ok_status();
  };
  lowering.emit(std::move(step));
}

// One step for all parts: where each goes is decided here.
struct Part {
  View src;
  View dst;
  std::shared_ptr<MovePlan> plan;
};

}  // namespace

Status lower_concat(Lowering& lowering, const Node& node) {
  const ValueInfo& out = lowering.info(node.outputs[0]);
  const auto rank = static_cast<int64_t>(out.shape.size());
  PARE_ASSIGN_OR_RETURN(const int64_t axis, normalised_axis(lowering.rule_context(node),
                                                            node.int_attribute("axis", 0), rank));
  PARE_ASSIGN_OR_RETURN(const View first, lowering.value(node.inputs[0]));
  const View dst = lowering.allocate(out.type, out.shape, memory_order(first));
  Step step;
  step.layer = describe(node, "move_strided", "the only one");
  std::vector<Part> parts;
  int64_t begin = 0;
  for (const std::string& input : node.inputs) {
    PARE_ASSIGN_OR_RETURN(const View src, lowering.value(input));
    View place = dst;
    place.shape = src.shape;
    place.offset += begin * dst.strides[static_cast<size_t>(axis)];
    begin += src.shape[static_cast<size_t>(axis)];
    step.reads.push_back(src.buffer);
    parts.push_back({src, place, move_plan(src, place)});
  }
  step.writes = {dst.buffer};
  step.run = [parts = std::move(parts)](const StepContext& c) {
    for (const Part& part : parts) part.plan->run(c.data(part.src), c.data(part.dst), c.pool());
    return ok_status();
  };
  lowering.emit(std::move(step));
  lowering.bind(node.outputs[0], dst);
  return ok_status();
}

namespace {

// A single known index is a slice; others are copied row by row.
Status lower_gather_slice(Lowering& lowering, const Node& node, View view, size_t axis,
                          int64_t index) {
  if (index < 0) index += view.shape[axis];
  view.offset += index * view.strides[axis];
  const auto at = static_cast<std::ptrdiff_t>(axis);
  view.shape.erase(view.shape.begin() + at);
  view.strides.erase(view.strides.begin() + at);
  const Shape& shape = lowering.info(node.outputs[0]).shape;
  View out = *reshaped_view(view, view.shape);
  // Indices of shape [1] or [1, 1] leave dimensions of size 1.
  while (out.shape.size() < shape.size()) {
    out.shape.insert(out.shape.begin() + at, 1);
    out.strides.insert(out.strides.begin() + at, 1);
  }
  lowering.bind(node.outputs[0], std::move(out));
  return ok_status();
}

}  // namespace

Status lower_gather(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(const View in, lowering.value(node.inputs[0]));
  PARE_ASSIGN_OR_RETURN(const int64_t axis,
                        normalised_axis(lowering.rule_context(node), node.int_attribute("axis", 0),
                                        static_cast<int64_t>(in.shape.size())));
  const auto a = static_cast<size_t>(axis);
  if (const Tensor* known = lowering.constant(node.inputs[1]); known != nullptr) {
    PARE_ASSIGN_OR_RETURN(const auto indices, to_int64_vector(*known));
    for (int64_t i : indices) {
      if (i < -in.shape[a] || i >= in.shape[a]) {
        return invalid_argument(fmt::format("node '{}' (Gather): index {} is outside an axis of {}",
                                            node.name, i, in.shape[a]));
      }
    }
    if (indices.size() == 1) return lower_gather_slice(lowering, node, in, a, indices[0]);
  }
  PARE_ASSIGN_OR_RETURN(const View src, lowering.dense(in, node.name));
  PARE_ASSIGN_OR_RETURN(View index, lowering.value(node.inputs[1]));
  PARE_ASSIGN_OR_RETURN(index, lowering.dense(index, node.name));
  if (index.type != DType::kInt64) {
    const View wide = lowering.allocate(DType::kInt64, index.shape);
    Step step;
    step.layer = describe(node, "typed_reference", "the only one for this type");
    step.reads = {index.buffer};
    step.writes = {wide.buffer};
    step.run = [index, wide](const StepContext& c) {
      run_cast(index.type, wide.type, index.size(), c.data(index), c.data(wide));
      return ok_status();
    };
    lowering.emit(std::move(step));
    index = wide;
  }
  GatherProblem problem{
      .size = src.shape[a], .count = index.size(), .inner_bytes = element_bytes(src)};
  for (size_t d = 0; d < src.shape.size(); ++d) {
    if (d < a) problem.outer *= src.shape[d];
    if (d > a) problem.inner_bytes *= src.shape[d];
  }
  const View dst = lowering.allocate(src.type, lowering.info(node.outputs[0]).shape);
  Step step;
  step.layer = describe(node, "gather_rows", "the only one");
  step.reads = {src.buffer, index.buffer};
  step.writes = {dst.buffer};
  step.run = [problem, src, index, dst](const StepContext& c) -> Status {
    const GatherResult result =
        run_gather(problem, c.data(src), c.data<int64_t>(index), c.data(dst));
    if (result.ok) return ok_status();
    return invalid_argument(
        fmt::format("index {} is outside an axis of {}", result.bad_index, problem.size));
  };
  lowering.emit(std::move(step));
  lowering.bind(node.outputs[0], dst);
  return ok_status();
}

// The whole result is filled with the constant, then the part that is not padding is copied in.
Status lower_pad(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(View src, lowering.value(node.inputs[0]));
  const auto rank = static_cast<int64_t>(src.shape.size());
  PARE_ASSIGN_OR_RETURN(const auto pads, lowering.constant_ints(node, 1));
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < rank; ++i) axes.push_back(i);
  if (node.has_input(3)) {
    PARE_ASSIGN_OR_RETURN(axes, lowering.constant_ints(node, 3));
  }
  Tensor constant(src.type, {1});
  if (node.has_input(2)) {
    const Tensor* given = lowering.constant(node.inputs[2]);
    if (given == nullptr || given->size() != 1 || given->type() != src.type) {
      return unsupported(fmt::format("node '{}' (Pad): the constant must be one known {}",
                                     node.name, dtype_name(src.type)));
    }
    constant = given->reshaped({1});
  }
  const View dst =
      lowering.allocate(src.type, lowering.info(node.outputs[0]).shape, memory_order(src));
  View inside = dst;
  inside.shape = src.shape;
  for (size_t i = 0; i < axes.size(); ++i) {
    PARE_ASSIGN_OR_RETURN(const int64_t axis,
                          normalised_axis(lowering.rule_context(node), axes[i], rank));
    const auto a = static_cast<size_t>(axis);
    const int64_t begin = pads[i];
    const int64_t end = pads[i + axes.size()];
    // Negative padding cuts the source instead.
    if (begin < 0) src.offset -= begin * src.strides[a];
    // What is left may be nothing, when more is cut than there is.
    src.shape[a] = std::max<int64_t>(
        0, src.shape[a] + std::min<int64_t>(begin, 0) + std::min<int64_t>(end, 0));
    inside.shape[a] = src.shape[a];
    inside.offset += std::max<int64_t>(begin, 0) * inside.strides[a];
  }
  Step step;
  step.layer = describe(node, "fill", "the only one");
  step.writes = {dst.buffer};
  step.run = [constant, dst](const StepContext& c) {
    run_fill(dtype_bits(dst.type) / 8, dst.size(), constant.data(), c.data(dst));
    return ok_status();
  };
  lowering.emit(std::move(step));
  emit_move(lowering, node, src, inside);
  lowering.bind(node.outputs[0], dst);
  return ok_status();
}

// [a, b] tiled r times is [1, a, 1, b] repeated to [r0, a, r1, b].
Status lower_tile(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(const View src, lowering.value(node.inputs[0]));
  PARE_ASSIGN_OR_RETURN(const auto repeats, lowering.constant_ints(node, 1));
  View repeated = src;
  repeated.shape.clear();
  repeated.strides.clear();
  for (size_t d = 0; d < src.shape.size(); ++d) {
    repeated.shape.insert(repeated.shape.end(), {repeats[d], src.shape[d]});
    repeated.strides.insert(repeated.strides.end(), {0, src.strides[d]});
  }
  const View dst = lowering.allocate(src.type, lowering.info(node.outputs[0]).shape);
  emit_move(lowering, node, repeated, *reshaped_view(dst, repeated.shape));
  lowering.bind(node.outputs[0], dst);
  return ok_status();
}

namespace {

// Both block operators are a transpose between a six-dimensional view of the source and one of the
// result.
Status lower_blocks(Lowering& lowering, const Node& node, const Shape& src_shape,
                    const std::vector<int>& order) {
  PARE_ASSIGN_OR_RETURN(const View in, lowering.value(node.inputs[0]));
  PARE_ASSIGN_OR_RETURN(const View src, lowering.dense(in, node.name));
  const View moved = permuted(*reshaped_view(src, src_shape), order);
  const View dst = lowering.allocate(src.type, lowering.info(node.outputs[0]).shape);
  emit_move(lowering, node, moved, *reshaped_view(dst, moved.shape));
  lowering.bind(node.outputs[0], dst);
  return ok_status();
}

}  // namespace

Status lower_depth_to_space(Lowering& lowering, const Node& node) {
  const Shape& in = lowering.info(node.inputs[0]).shape;
  const int64_t b = node.int_attribute("blocksize", 1);
  const int64_t c = in[1] / (b * b);
  if (node.string_attribute("mode", "DCR") == "CRD") {
    return lower_blocks(lowering, node, {in[0], c, b, b, in[2], in[3]}, {0, 1, 4, 2, 5, 3});
  }
  return lower_blocks(lowering, node, {in[0], b, b, c, in[2], in[3]}, {0, 3, 4, 1, 5, 2});
}

Status lower_space_to_depth(Lowering& lowering, const Node& node) {
  const Shape& in = lowering.info(node.inputs[0]).shape;
  const int64_t b = node.int_attribute("blocksize", 1);
  return lower_blocks(lowering, node, {in[0], in[1], in[2] / b, b, in[3] / b, b},
                      {0, 3, 5, 1, 2, 4});
}

Status lower_constant_of_shape(Lowering& lowering, const Node& node) {
  const ValueInfo& out = lowering.info(node.outputs[0]);
  Tensor one(out.type, {1});
  if (const auto it = node.attributes.find("value"); it != node.attributes.end()) {
    one = std::get<Tensor>(it->second).reshaped({1});
  }
  View view = lowering.constant_view(std::move(one));
  view.shape = out.shape;
  view.strides.assign(out.shape.size(), 0);
  lowering.bind(node.outputs[0], std::move(view));
  return ok_status();
}

}  // namespace pare
