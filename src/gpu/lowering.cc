#include "gpu/lowering.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "gpu/encoder.h"
#include "gpu/operands.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/strided.h"
#include "runtime/lower.h"
#include "runtime/views.h"

namespace pare::gpu {
namespace {

// Until memory is planned an operand's offset holds its buffer above the byte in it.
constexpr int kBufferShift = 40;

template <typename Op>
constexpr OpKind kind_of();
template <>
constexpr OpKind kind_of<InputOp>() {
  return OpKind::kInput;
}
template <>
constexpr OpKind kind_of<ProductOp>() {
  return OpKind::kProduct;
}
template <>
constexpr OpKind kind_of<RowsOp>() {
  return OpKind::kRows;
}
template <>
constexpr OpKind kind_of<AttentionOp>() {
  return OpKind::kAttention;
}
template <>
constexpr OpKind kind_of<PoolOp>() {
  return OpKind::kPool;
}
template <>
constexpr OpKind kind_of<ChainOp>() {
  return OpKind::kChain;
}
template <>
constexpr OpKind kind_of<ReduceOp>() {
  return OpKind::kReduce;
}

// Operators that only look at memory in another way, and those that become a chain: the base
// class's functions serve.
bool is_shared(const std::string& op) {
  static constexpr const char* kShared[] = {
      "Identity",       "Dropout",         "Squeeze", "Unsqueeze", "Transpose",
      "Split",          "Slice",           "Expand",  "Shape",     "Size",
      "Range",          "ConstantOfShape", "Gather",  "Cast",      "BatchNormalization",
      "QuantizeLinear", "DequantizeLinear"};
  return std::find(std::begin(kShared), std::end(kShared), op) != std::end(kShared);
}

}  // namespace

Lowering::Lowering(const Graph& graph, const Inference& inference, const Fusion& fusion,
                   const PlanOptions& options, WeightStore& constants, WeightBlock& block,
                   const InputAdapter& adapter, const ProgramOptions& target)
    : pare::Lowering(graph, inference, fusion, options, constants),
      block_(block),
      adapter_(adapter),
      target_(target) {}

Operand Lowering::at(const View& view) const {
  if (view.buffer < 0) return {};
  return {.offset = (static_cast<int64_t>(view.buffer) << kBufferShift) +
                    view.offset * dtype_bits(view.type) / 8,
          .space = Space::kArena,
          .type = view.type};
}

template <typename Op>
void Lowering::push(const Op& op, StepInfo info, const std::vector<View>& reads,
                    const View& write) {
  std::vector<Op>& ops = ops_of(program_, static_cast<const Op*>(nullptr));
  program_.steps.push_back({kind_of<Op>(), static_cast<int32_t>(ops.size())});
  program_.infos.push_back(std::move(info));
  ops.push_back(op);
  // The base class's own steps are what memory is planned by.
  pare::Step step;
  for (const View& view : reads) {
    if (view.buffer >= 0) step.reads.push_back(view.buffer);
  }
  step.writes = {write.buffer};
  plan().steps.push_back(std::move(step));
}

template void Lowering::push(const InputOp&, StepInfo, const std::vector<View>&, const View&);
template void Lowering::push(const ProductOp&, StepInfo, const std::vector<View>&, const View&);
template void Lowering::push(const RowsOp&, StepInfo, const std::vector<View>&, const View&);
template void Lowering::push(const AttentionOp&, StepInfo, const std::vector<View>&, const View&);
template void Lowering::push(const PoolOp&, StepInfo, const std::vector<View>&, const View&);
template void Lowering::push(const ChainOp&, StepInfo, const std::vector<View>&, const View&);
template void Lowering::push(const ReduceOp&, StepInfo, const std::vector<View>&, const View&);

void Lowering::emit(pare::Step step) {
  if (!failure_.ok()) return;
  failure_ = unsupported(
      fmt::format("node '{}' ({}): no GPU kernel", step.layer.name, step.layer.operation));
}

DType Lowering::storage_type(const std::string& name) const {
  const DType type = info(name).type;
  return !is_floating(type) || index().is_output(name) ? type : storage();
}

std::vector<int> Lowering::chain_order(std::vector<int> order) const {
  return order.size() == 4 ? channels_last_order(4) : order;
}

// --- What is put in front of a reader when it is first needed ---

const View* Lowering::flattened(const std::string& name) const {
  const auto it = flattened_.find(name);
  return it == flattened_.end() ? nullptr : &it->second;
}

Result<View> Lowering::value(const std::string& name) {
  if (const auto it = flattened_.find(name); it != flattened_.end()) {
    const View image = it->second;
    flattened_.erase(it);
    PARE_ASSIGN_OR_RETURN(const View plain, dense(image, name));
    bind(name, *reshaped_view(plain, info(name).shape));
  }
  const bool adapted = !adapter_.table().empty() || adapter_.channels_last() || adapter_.bgr();
  if (adapted && name == graph().inputs[0].name) {
    return *pixels(name, info(name).type);
  }
  return pare::Lowering::value(name);
}

std::optional<View> Lowering::pixels(const std::string& name, DType type, int neighbours) {
  if (name != graph().inputs[0].name) return std::nullopt;
  const auto key = std::pair(type, neighbours);
  if (const auto it = pixels_.find(key); it != pixels_.end()) return it->second;
  const int64_t batch = info(name).shape[0];
  const bool padded =
      adapter_.channels() == 3 && !adapter_.channels_last() && adapter_.table().empty();
  InputOp op;
  op.batch = static_cast<int32_t>(batch);
  op.channels = static_cast<int32_t>(adapter_.channels());
  op.height = static_cast<int32_t>(adapter_.height());
  op.width = static_cast<int32_t>(adapter_.width());
  op.slot = padded ? 4 : op.channels;
  op.neighbours = neighbours;
  op.reversed_channels = adapter_.bgr() ? 1 : 0;
  View dst = allocate(type, {batch, adapter_.height(), adapter_.width(), op.slot * neighbours});
  op.src = at(plan().inputs[0]);
  op.src.type = DType::kUInt8;
  op.dst = at(dst);
  if (!adapter_.table().empty()) {
    op.table = block_.constant(Tensor::from_values<float>(
        {static_cast<int64_t>(adapter_.table().size())}, adapter_.table()));
  }
  push(op, {.name = name, .operation = "pixels, channels last"}, {plan().inputs[0]}, dst);
  dst.shape[3] = op.channels;
  const View view = adapter_.channels_last() ? dst : permuted(dst, {0, 3, 1, 2});
  return pixels_.emplace(key, view).first->second;
}

Result<View> Lowering::in_order(const View& view, const std::vector<int>& order,
                                const std::string& why) {
  if (is_dense_in(view, order)) return view;
  const View dst = allocate(view.type, view.shape, order);
  PARE_RETURN_IF_ERROR(emit_copy(why, view, dst));
  return dst;
}

// --- Elementwise ---

Status Lowering::emit_copy(const std::string& name, const View& src, const View& dst) {
  ElementwiseProblem problem;
  problem.shape = dst.shape;
  problem.operands = {{.type = src.type, .strides = src.strides}};
  problem.dst = {.type = dst.type, .strides = dst.strides};
  if (!is_floating(dst.type)) {
    problem.dst_lo = dtype_min(dst.type);
    problem.dst_hi = dtype_max(dst.type);
  }
  Node node;
  node.name = name;
  node.op = "copy to another memory order";
  return emit_program(node, std::move(problem), {src}, dst);
}

Status Lowering::emit_program(const Node& node, ElementwiseProblem problem, std::vector<View> views,
                              const View& dst) {
  const std::string where = fmt::format("node '{}' ({})", node.name, node.op);
  std::vector<std::vector<int64_t>> strides = {problem.dst.strides};
  for (const ElementwiseOperand& operand : problem.operands) strides.push_back(operand.strides);
  const StridedShape walk = collapse(problem.shape, std::move(strides));
  if (walk.shape.size() > kMaxRank || problem.operands.size() > kMaxOperands ||
      problem.program.size() > kMaxInstructions) {
    return unsupported(
        fmt::format("{}: {} dimensions, {} operands and {} operations in a chain "
                    "are more than a GPU kernel takes ({}, {}, {})",
                    where, walk.shape.size(), problem.operands.size(), problem.program.size(),
                    kMaxRank, kMaxOperands, kMaxInstructions));
  }
  if (walk.count > std::numeric_limits<int32_t>::max()) {
    return unsupported(where + ": more than 2^31 elements");
  }
  const bool byte_result = dst.type == DType::kUInt8 || dst.type == DType::kInt8;
  if (!is_program_float(dst.type) && !byte_result) {
    return unsupported(fmt::format("{}: no GPU kernel for {}", where, dtype_name(dst.type)));
  }
  ChainOp op;
  op.count = walk.count;
  const size_t lead = kMaxRank - walk.shape.size();
  std::fill(std::begin(op.shape), std::end(op.shape), 1);
  for (size_t d = 0; d < walk.shape.size(); ++d) {
    op.shape[lead + d] = static_cast<int32_t>(walk.shape[d]);
    op.dst_strides[lead + d] = walk.strides[0][d];
  }
  op.dst = at(dst);
  op.rounding = {problem.dst_scale, problem.dst.zero_point, problem.dst_lo, problem.dst_hi};
  op.operand_count = static_cast<int32_t>(views.size());
  for (size_t k = 0; k < views.size(); ++k) {
    if (!is_program_source(views[k].type)) {
      return unsupported(fmt::format("{}: no GPU kernel for {}", where, dtype_name(views[k].type)));
    }
    ChainOperand& operand = op.operands[k];
    operand.place = at(views[k]);
    operand.zero_point = problem.operands[k].zero_point;
    operand.scale = problem.operands[k].scale;
    for (size_t d = 0; d < walk.shape.size(); ++d) {
      operand.strides[lead + d] = walk.strides[k + 1][d];
    }
  }
  op.instruction_count = static_cast<int32_t>(problem.program.size());
  for (size_t i = 0; i < problem.program.size(); ++i) {
    const ElementwiseInstruction& from = problem.program[i];
    op.program[i] = {from.op, static_cast<uint8_t>(from.operand < 0 ? 0 : from.operand),
                     static_cast<uint8_t>(from.reversed ? 1 : 0), from.alpha, from.beta};
  }
  push(op, {.name = node.name, .operation = node.op}, views, dst);
  return ok_status();
}

Status Lowering::emit_table(const Node& node, const std::array<uint8_t, 256>& table,
                            const View& src, const View& dst) {
  ChainOp op;
  op.count = dst.size();
  std::fill(std::begin(op.shape), std::end(op.shape), 1);
  op.shape[kMaxRank - 1] = static_cast<int32_t>(op.count);
  op.dst_strides[kMaxRank - 1] = 1;
  op.dst = at(dst);
  op.operand_count = 1;
  op.operands[0].place = at(src);
  op.operands[0].strides[kMaxRank - 1] = 1;
  op.table = block_.constant(Tensor::from_values<uint8_t>({256}, table));
  push(op, {.name = node.name, .operation = node.op}, {src}, dst);
  return ok_status();
}

// --- Nodes ---

Status Lowering::lower_reshape(const Node& node) {
  PARE_ASSIGN_OR_RETURN(const View view, value(node.inputs[0]));
  const std::string& output = node.outputs[0];
  const Shape& shape = info(output).shape;
  if (auto out = reshaped_view(view, shape)) {
    bind(output, *std::move(out));
    return ok_status();
  }
  if (view.shape.size() == 4 && shape.size() == 2 && shape[0] == view.shape[0] &&
      is_dense_in(view, channels_last_order(4))) {
    flattened_.emplace(output, view);
    return ok_status();
  }
  PARE_ASSIGN_OR_RETURN(const View plain, dense(view, node.name));
  bind(output, *reshaped_view(plain, shape));
  return ok_status();
}

Status Lowering::lower_concat(const Node& node) {
  const ValueInfo& out = info(node.outputs[0]);
  PARE_ASSIGN_OR_RETURN(const int64_t axis,
                        normalised_axis(rule_context(node), node.int_attribute("axis", 0),
                                        static_cast<int64_t>(out.shape.size())));
  const View dst = allocate(storage_type(node.outputs[0]), out.shape,
                            chain_order(plain_order(static_cast<int>(out.shape.size()))));
  int64_t begin = 0;
  for (const std::string& input : node.inputs) {
    PARE_ASSIGN_OR_RETURN(const View src, value(input));
    View place = dst;
    place.shape = src.shape;
    place.offset += begin * dst.strides[static_cast<size_t>(axis)];
    begin += src.shape[static_cast<size_t>(axis)];
    PARE_RETURN_IF_ERROR(emit_copy(node.name, src, place));
  }
  bind(node.outputs[0], dst);
  return ok_status();
}

Status Lowering::lower_node(size_t i) {
  const Node& node = graph().nodes[i];
  const auto at_node = static_cast<int>(i);
  const auto lower = [&]() -> Status {
    // Arithmetic on shapes is over before anything runs.
    if (!is_floating(info(node.outputs[0]).type) && constant(node.outputs[0]) != nullptr) {
      return ok_status();
    }
    if (auto it = fusion().products.find(at_node); it != fusion().products.end()) {
      return lower_product(*this, it->second);
    }
    if (auto it = fusion().chains.find(at_node); it != fusion().chains.end()) {
      return lower_chain(*this, it->second);
    }
    if (node.domain == "pare" && node.op == "Attention") return lower_attention(*this, node);
    if (!node.domain.empty())
      return unsupported(fmt::format("node '{}' ({}): no GPU kernel", node.name, node.op));
    if (node.op == "Reshape" || node.op == "Flatten") return lower_reshape(node);
    if (node.op == "Concat") return lower_concat(node);
    if (node.op == "LayerNormalization" || node.op == "Softmax" || node.op == "LogSoftmax") {
      return lower_rows(*this, node);
    }
    if (node.op.ends_with("MaxPool") || node.op.ends_with("AveragePool")) {
      return gpu::lower_pool(*this, node);
    }
    if (node.op.starts_with("Reduce")) return gpu::lower_reduce(*this, node);
    if (is_shared(node.op)) return find_lowering(node.domain, node.op)(*this, node);
    return unsupported(fmt::format("node '{}' ({}): no GPU kernel", node.name, node.op));
  };
  PARE_RETURN_IF_ERROR(lower());
  return failure_;
}

// --- The whole ---

Result<Program> Lowering::lower_program() {
  PARE_ASSIGN_OR_RETURN(Plan plan, lower());
  PARE_RETURN_IF_ERROR(failure_);
  return resolve(std::move(plan));
}

// Buffers into places: the pixels, the scores, constants, and the arena.
Result<Program> Lowering::resolve(Plan plan) {
  const int input = plan.inputs[0].buffer;
  const View& scores = plan.outputs[0];
  const Buffer& last = plan.buffers[static_cast<size_t>(scores.buffer)];
  const int64_t output_bytes = scores.size() * dtype_bits(scores.type) / 8;
  if (last.is_constant || scores.buffer == input || scores.offset != 0 ||
      last.bytes != output_bytes) {
    return unsupported("the scores are no operation's whole result");
  }
  const auto resolve_one = [&](Operand& operand) {
    if (operand.space != Space::kArena) return;
    const auto index = static_cast<int>(operand.offset >> kBufferShift);
    const Buffer& buffer = plan.buffers[static_cast<size_t>(index)];
    operand.offset &= (int64_t{1} << kBufferShift) - 1;
    if (index == input) {
      operand.space = Space::kInput;
    } else if (index == scores.buffer) {
      operand.space = Space::kOutput;
    } else if (buffer.is_constant) {
      operand.space = Space::kWeights;
      operand.offset += block_.constant(buffer.constant).offset;
    } else {
      operand.offset += buffer.arena_offset;
    }
  };
  program_.storage = storage();  // the passes below look at it
  if (target_.periodic_residuals) fuse_positions(program_);
  if (target_.encoders) fuse_encoders(program_);
  each_kind(program_, [&](auto& ops) {
    for (auto& op : ops) each_operand(op, resolve_one);
  });
  program_.batch = plan.batch;
  program_.input_bytes = plan.batch * adapter_.channels() * adapter_.height() * adapter_.width();
  program_.output_bytes = output_bytes;
  program_.arena_bytes = plan.arena_bytes;
  return std::move(program_);
}

Result<Program> make_program(const Graph& graph, int64_t batch, DType storage,
                             const InputAdapter& adapter, WeightStore& constants,
                             WeightBlock& block, const ProgramOptions& target) {
  PARE_ASSIGN_OR_RETURN(const Inference inference, infer_concrete(graph, batch));
  const Fusion fusion = plan_fusion(graph, inference, {});
  PlanOptions options;
  options.batch = batch;
  options.storage = storage;
  return Lowering(graph, inference, fusion, options, constants, block, adapter, target)
      .lower_program();
}

}  // namespace pare::gpu
