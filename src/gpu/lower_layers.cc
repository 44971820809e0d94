// Lowering of normalisations, attention, pooling and reductions.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/numerals.h"
#include "gpu/lowering.h"
#include "graph/window.h"
#include "runtime/operator_kinds.h"
#include "runtime/views.h"

namespace pare::gpu {
namespace {

Rounding rounding_of(const TailGroup* tail) {
  if (tail == nullptr) return {};
  const Quantisation& q = tail->quantisation;
  return {q.scale, q.zero_point, dtype_min(q.type), dtype_max(q.type)};
}

// The value that a layer writes, quantised or not, and its type.
struct LayerResult {
  std::string name;
  DType type;
};
LayerResult result_of(const Lowering& lowering, const Node& node, const TailGroup* tail) {
  if (tail != nullptr) return {tail->output, lowering.info(tail->output).type};
  return {node.outputs[0], lowering.storage_type(node.outputs[0])};
}

Result<Operand> float_vector(Lowering& lowering, const Node& node, size_t input, int64_t size) {
  if (!node.has_input(input)) return Operand();
  PARE_ASSIGN_OR_RETURN(const Tensor tensor, lowering.float_constant(node.inputs[input]));
  if (tensor.empty() || tensor.size() != size) {
    return unsupported(fmt::format("node '{}' ({}): input {} must be a constant of {} numbers",
                                   node.name, node.op, input, size));
  }
  return lowering.block().constant(tensor);
}

Result<View> as_float(Lowering& lowering, const View& view, const Node& node) {
  if (is_program_float(view.type)) return view;
  return lowering.converted(view, lowering.storage(), node.name);
}

}  // namespace

Status lower_rows(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(View src, lowering.value(node.inputs[0]));
  const auto rank = static_cast<int64_t>(src.shape.size());
  PARE_ASSIGN_OR_RETURN(const int64_t axis, normalised_axis(lowering.rule_context(node),
                                                            node.int_attribute("axis", -1), rank));
  RowsOp op;
  const bool layer_norm = node.op == "LayerNormalization";
  op.kind = layer_norm             ? RowKind::kLayerNorm
            : node.op == "Softmax" ? RowKind::kSoftmax
                                   : RowKind::kLogSoftmax;
  for (size_t i = 1; i < node.outputs.size(); ++i) {
    if (!node.outputs[i].empty()) {
      return unsupported(
          fmt::format("node '{}' ({}): output {} is not computed", node.name, node.op, i));
    }
  }
  // The normalised dimensions innermost, the others as they lie.
  std::vector<int> inner = {static_cast<int>(axis)};
  for (int64_t d = axis + 1; layer_norm && d < rank; ++d) inner.push_back(static_cast<int>(d));
  std::vector<int> order;
  for (int d : memory_order(src)) {
    if (std::find(inner.begin(), inner.end(), d) == inner.end()) order.push_back(d);
  }
  order.insert(order.end(), inner.begin(), inner.end());
  PARE_ASSIGN_OR_RETURN(src, as_float(lowering, src, node));
  PARE_ASSIGN_OR_RETURN(src, lowering.in_order(src, order, node.name));
  int64_t cols = 1;
  for (int d : inner) cols *= src.shape[static_cast<size_t>(d)];
  op.cols = static_cast<int32_t>(cols);
  op.rows = cols == 0 ? 0 : src.size() / cols;
  op.epsilon = node.float_attribute("epsilon", 1e-5F);
  if (layer_norm) {
    PARE_ASSIGN_OR_RETURN(op.gamma, float_vector(lowering, node, 1, cols));
    PARE_ASSIGN_OR_RETURN(op.beta, float_vector(lowering, node, 2, cols));
  }
  const TailGroup* tail = lowering.tail(node);
  const LayerResult result = result_of(lowering, node, tail);
  op.rounding = rounding_of(tail);
  const View dst = lowering.allocate(result.type, src.shape, order);
  op.src = lowering.at(src);
  op.dst = lowering.at(dst);
  lowering.push(op, {.name = node.name, .operation = node.op}, {src}, dst);
  lowering.bind(result.name, dst);
  return ok_status();
}

Status lower_attention(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(const auto parts, attention_operands(lowering, node, lowering.storage()));
  const int64_t heads = node.int_attribute("num_heads", 1);
  AttentionOp op;
  op.batch = static_cast<int32_t>(parts[0].shape[0]);
  op.heads = static_cast<int32_t>(heads);
  op.q_tokens = static_cast<int32_t>(parts[0].shape[1]);
  op.kv_tokens = static_cast<int32_t>(parts[1].shape[1]);
  op.qk_dim = static_cast<int32_t>(parts[0].shape[2] / heads);
  op.v_dim = static_cast<int32_t>(parts[2].shape[2] / heads);
  op.scale = node.float_attribute("scale", 1.0F);
  for (size_t d : {0U, 1U}) {
    op.q_strides[d] = parts[0].strides[d];
    op.k_strides[d] = parts[1].strides[d];
    op.v_strides[d] = parts[2].strides[d];
  }
  const TailGroup* tail = lowering.tail(node);
  const LayerResult result = result_of(lowering, node, tail);
  op.rounding = rounding_of(tail);
  const View dst = lowering.allocate(result.type, lowering.info(result.name).shape);
  op.q = lowering.at(parts[0]);
  op.k = lowering.at(parts[1]);
  op.v = lowering.at(parts[2]);
  op.dst = lowering.at(dst);
  StepInfo info{.name = node.name, .operation = node.op};
  info.macs = saturating_product({heads, op.q_tokens, op.kv_tokens, op.qk_dim + op.v_dim});
  lowering.push(op, std::move(info), parts, dst);
  lowering.bind(result.name, dst);
  return ok_status();
}

Status lower_pool(Lowering& lowering, const Node& node) {
  const std::string where = fmt::format("node '{}' ({})", node.name, node.op);
  if (node.outputs.size() > 1 && !node.outputs[1].empty()) {
    return unsupported(where + ": output 1 is not computed");
  }
  PARE_ASSIGN_OR_RETURN(View src, lowering.value(node.inputs[0]));
  if (src.shape.size() != 4) return unsupported(where + ": expected an input of NxCxHxW");
  Window w;
  w.out_h = w.out_w = 1;
  w.kernel_h = src.shape[2];
  w.kernel_w = src.shape[3];
  if (!node.op.starts_with("Global")) {
    PARE_ASSIGN_OR_RETURN(w, resolve_window(node, src.shape, 0, 0));
  }
  PoolOp op;
  op.mean = node.op.ends_with("AveragePool") ? 1 : 0;
  if (op.mean != 0) {
    PARE_ASSIGN_OR_RETURN(src, as_float(lowering, src, node));
  }
  PARE_ASSIGN_OR_RETURN(src, lowering.in_order(src, channels_last_order(4), node.name));
  op.batch = static_cast<int32_t>(src.shape[0]);
  op.channels = static_cast<int32_t>(src.shape[1]);
  op.in_h = static_cast<int32_t>(src.shape[2]);
  op.in_w = static_cast<int32_t>(src.shape[3]);
  set_window(op, w);
  op.pad_bottom = static_cast<int32_t>(w.pad_bottom);
  op.pad_right = static_cast<int32_t>(w.pad_right);
  op.count_include_pad = w.count_include_pad ? 1 : 0;
  const View dst = lowering.allocate(src.type, {src.shape[0], src.shape[1], w.out_h, w.out_w},
                                     channels_last_order(4));
  op.src = lowering.at(src);
  op.dst = lowering.at(dst);
  lowering.push(op, {.name = node.name, .operation = node.op}, {src}, dst);
  lowering.bind(node.outputs[0], dst);
  return ok_status();
}

namespace {

Result<ReduceKind> reduce_kind(const Node& node) {
  constexpr std::array<std::pair<const char*, ReduceKind>, 6> kKinds = {{
      {"ReduceMean", ReduceKind::kMean},
      {"ReduceSum", ReduceKind::kSum},
      {"ReduceMax", ReduceKind::kMax},
      {"ReduceMin", ReduceKind::kMin},
      {"ReduceProd", ReduceKind::kProd},
      {"ReduceL2", ReduceKind::kL2},
  }};
  for (const auto& [name, kind] : kKinds) {
    if (node.op == name) return kind;
  }
  return unsupported(fmt::format("node '{}' ({}): no GPU kernel", node.name, node.op));
}

}  // namespace

Status lower_reduce(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(View src, lowering.value(node.inputs[0]));
  ReduceOp op;
  PARE_ASSIGN_OR_RETURN(op.kind, reduce_kind(node));
  const auto rank = static_cast<int64_t>(src.shape.size());
  PARE_ASSIGN_OR_RETURN(std::vector<int64_t> axes, axes_of(lowering.rule_context(node)));
  if (axes.empty() && node.int_attribute("noop_with_empty_axes", 0) != 0) {
    lowering.bind(node.outputs[0], src);
    return ok_status();
  }
  if (axes.empty()) {
    for (int64_t d = 0; d < rank; ++d) axes.push_back(d);
  }
  PARE_ASSIGN_OR_RETURN(axes, normalised_axes(lowering.rule_context(node), std::move(axes), rank));
  if (!is_program_float(src.type) || rank > kMaxRank) {
    return unsupported(fmt::format("node '{}' ({}): no GPU kernel for {} of {}", node.name, node.op,
                                   dtype_name(src.type), shape_string(src.shape)));
  }
  std::fill(std::begin(op.kept_shape), std::end(op.kept_shape), 1);
  std::fill(std::begin(op.reduced_shape), std::end(op.reduced_shape), 1);
  op.kept_count = op.reduced_count = 1;
  size_t kept = kMaxRank;
  size_t reduced = kMaxRank;
  for (size_t d = src.shape.size(); d-- > 0;) {
    const bool gone = std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) != axes.end();
    const size_t at = gone ? --reduced : --kept;
    (gone ? op.reduced_shape : op.kept_shape)[at] = static_cast<int32_t>(src.shape[d]);
    (gone ? op.reduced_strides : op.kept_strides)[at] = src.strides[d];
    (gone ? op.reduced_count : op.kept_count) *= src.shape[d];
  }
  const View dst = lowering.allocate(lowering.storage_type(node.outputs[0]),
                                     lowering.info(node.outputs[0]).shape);
  op.src = lowering.at(src);
  op.dst = lowering.at(dst);
  lowering.push(op, {.name = node.name, .operation = node.op}, {src}, dst);
  lowering.bind(node.outputs[0], dst);
  return ok_status();
}

}  // namespace pare::gpu
