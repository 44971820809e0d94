// Lowering of operators that only look at the same memory in another way. They emit no step, except
// a copy where the elements must lie in row-major order and do not.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/move/move.h"
#include "runtime/lower.h"
#include "runtime/views.h"

namespace pare {

Status lower_identity(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(View view, lowering.value(node.inputs[0]));
  lowering.bind(node.outputs[0], std::move(view));
  if (node.outputs.size() > 1 && !node.outputs[1].empty()) {
    // Dropout's mask: nothing is dropped when running.
    Tensor mask(DType::kBool, lowering.info(node.outputs[1]).shape);
    std::fill_n(mask.mutable_data(), mask.size(), std::byte{1});
    lowering.bind(node.outputs[1], lowering.constant_view(std::move(mask)));
  }
  return ok_status();
}

// Reshape, Flatten, Squeeze, Unsqueeze: the new shape is the inferred one.
Status lower_reshape(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(const View view, lowering.value(node.inputs[0]));
  const Shape& shape = lowering.info(node.outputs[0]).shape;
  std::optional<View> out = reshaped_view(view, shape);
  if (!out) {
    PARE_ASSIGN_OR_RETURN(const View plain, lowering.dense(view, node.name));
    out = reshaped_view(plain, shape);
  }
  lowering.bind(node.outputs[0], *std::move(out));
  return ok_status();
}

Status lower_transpose(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(const View view, lowering.value(node.inputs[0]));
  std::vector<int> order;
  for (int64_t axis : node.ints_attribute("perm")) order.push_back(static_cast<int>(axis));
  if (!node.attributes.contains("perm")) {
    order = plain_order(static_cast<int>(view.shape.size()));
    std::reverse(order.begin(), order.end());
  }
  lowering.bind(node.outputs[0], permuted(view, order));
  return ok_status();
}

Status lower_split(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(const View view, lowering.value(node.inputs[0]));
  PARE_ASSIGN_OR_RETURN(const int64_t axis,
                        normalised_axis(lowering.rule_context(node), node.int_attribute("axis", 0),
                                        static_cast<int64_t>(view.shape.size())));
  int64_t begin = 0;
  for (const std::string& output : node.outputs) {
    View part = view;
    const auto a = static_cast<size_t>(axis);
    part.offset += begin * view.strides[a];
    if (!output.empty()) {
      part.shape = lowering.info(output).shape;
      begin += part.shape[a];
      lowering.bind(output, std::move(part));
    } else {
      return unsupported(fmt::format("node '{}' (Split): an output without a name", node.name));
    }
  }
  return ok_status();
}

Status lower_slice(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(View view, lowering.value(node.inputs[0]));
  PARE_ASSIGN_OR_RETURN(const auto ranges, slice_ranges(lowering.rule_context(node)));
  for (size_t d = 0; d < ranges.size(); ++d) {
    // An empty range may start outside; nothing of it is ever read.
    view.offset += ranges[d].count == 0 ? 0 : ranges[d].start * view.strides[d];
    view.strides[d] *= ranges[d].step;
    view.shape[d] = ranges[d].count;
  }
  lowering.bind(node.outputs[0], std::move(view));
  return ok_status();
}

Status lower_expand(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(View view, lowering.value(node.inputs[0]));
  const Shape& shape = lowering.info(node.outputs[0]).shape;
  view.strides = broadcast_strides(view, shape);
  view.shape = shape;
  lowering.bind(node.outputs[0], std::move(view));
  return ok_status();
}

// Shape, Size, Range: known before running, or not supported. Their outputs are found as constants.
Status lower_known(Lowering& lowering, const Node& node) {
  if (lowering.constant(node.outputs[0]) != nullptr) return ok_status();
  return unsupported(
      fmt::format("node '{}' ({}): its {} elements are too many to work out before "
                  "running",
                  node.name, node.op, lowering.info(node.outputs[0]).shape[0]));
}

}  // namespace pare
