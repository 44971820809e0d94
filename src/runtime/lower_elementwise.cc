// Lowering of chains of elementwise float operations to one elementwise program each.
#include <fmt/format.h>

#include <memory>
#include <optional>
#include <utility>

#include "graph/onnx_types.h"
#include "kernels/elementwise/elementwise.h"
#include "runtime/lower.h"
#include "runtime/operator_kinds.h"
#include "runtime/views.h"

namespace pare {
namespace {

// Collects the program of a chain.
class ChainBuilder {
 public:
  ChainBuilder(Lowering& lowering, const std::vector<const Node*>& nodes, std::string output)
      : lowering_(lowering), nodes_(nodes), output_(std::move(output)) {}

  Status build();

 private:
  Status start();
  // A value as an operand, integers where it is their dequantised form.
  Result<ElementwiseOperand> operand(const std::string& value, View& view);
  Status add(const Node& node);
  Status add_unary(const Node& node, LoopOp op);
  Status add_clip(const Node& node);
  Status add_binary(const Node& node, LoopOp op);
  Status add_quantize(const Node& node);
  Status add_dequantize(const Node& node);
  Status add_operand(const Node& node, const std::string& value, LoopOp op, bool reversed,
                     std::optional<int64_t> axis = std::nullopt);
  Status emit();
  bool is_table() const;
  Status emit_table(const Node& node, const View& dst);
  std::string operation() const;

  Lowering& lowering_;
  const std::vector<const Node*>& nodes_;
  std::string output_;
  std::string running_;  // the value that the program holds so far
  Shape shape_;
  ElementwiseProblem problem_;
  std::vector<View> views_;
};

Status ChainBuilder::build() {
  shape_ = lowering_.info(output_).shape;
  PARE_RETURN_IF_ERROR(start());
  for (const Node* node : nodes_) PARE_RETURN_IF_ERROR(add(*node));
  return emit();
}

// The running value begins as the first node's first input, or the second where only that one
// varies.
Status ChainBuilder::start() {
  const Node& first = *nodes_.front();
  running_ = first.inputs[0];
  const auto full = [&](const std::string& v) {
    return lowering_.constant(v) == nullptr && lowering_.info(v).shape == shape_;
  };
  if (binary_loop(first.op) && !full(running_) && first.inputs.size() == 2 &&
      full(first.inputs[1])) {
    running_ = first.inputs[1];
  }
  View view;
  PARE_ASSIGN_OR_RETURN(ElementwiseOperand first_operand, operand(running_, view));
  problem_.shape = shape_;
  problem_.operands.push_back(std::move(first_operand));
  views_.push_back(view);
  problem_.dst.type = lowering_.chain_type(output_);
  return ok_status();
}

Result<ElementwiseOperand> ChainBuilder::operand(const std::string& value, View& view) {
  const Node* from = lowering_.producer(value);
  std::optional<Quantisation> q;
  if (from != nullptr && from->op == "DequantizeLinear" &&
      lowering_.constant(from->inputs[0]) == nullptr) {
    q = uniform_quantisation(lowering_.graph(), lowering_.infos(), *from);
  }
  PARE_ASSIGN_OR_RETURN(view, lowering_.value(q ? from->inputs[0] : value));
  ElementwiseOperand operand{.type = view.type, .strides = broadcast_strides(view, shape_)};
  if (q) {
    operand.zero_point = q->zero_point;
    operand.scale = q->scale;
  }
  return operand;
}

Status ChainBuilder::add(const Node& node) {
  Status status;
  if (const auto unary = unary_loop(node)) {
    status = add_unary(node, *unary);
  } else if (const auto binary = binary_loop(node.op)) {
    status = add_binary(node, *binary);
  } else if (node.op == "Clip") {
    status = add_clip(node);
  } else if (node.op == "QuantizeLinear") {
    status = add_quantize(node);
  } else if (node.op == "DequantizeLinear") {
    status = add_dequantize(node);
  } else if (node.op != "Cast" && node.op != "Identity" && node.op != "Dropout") {
    status = internal_error(fmt::format("node '{}' ({}) in a chain", node.name, node.op));
  }
  PARE_RETURN_IF_ERROR(status);
  running_ = node.outputs[0];
  return ok_status();
}

Status ChainBuilder::add_unary(const Node& node, LoopOp op) {
  ElementwiseInstruction instruction{.op = op};
  if (op == LoopOp::kLeakyRelu) instruction.alpha = node.float_attribute("alpha", 0.01F);
  if (op == LoopOp::kElu) instruction.alpha = node.float_attribute("alpha", 1.0F);
  if (op == LoopOp::kHardSigmoid) {
    instruction.alpha = node.float_attribute("alpha", 0.2F);
    instruction.beta = node.float_attribute("beta", 0.5F);
  }
  problem_.program.push_back(instruction);
  return ok_status();
}

Status ChainBuilder::add_operand(const Node& node, const std::string& value, LoopOp op,
                                 bool reversed, std::optional<int64_t> axis) {
  View view;
  PARE_ASSIGN_OR_RETURN(ElementwiseOperand added, operand(value, view));
  if (axis) {
    added.strides.assign(shape_.size(), 0);
    if (view.size() != 1) added.strides[static_cast<size_t>(*axis)] = 1;
  }
  if (!is_program_source(added.type)) {
    return unsupported(fmt::format("node '{}' ({}): operand '{}' of {} beside float32", node.name,
                                   node.op, value, dtype_name(added.type)));
  }
  problem_.program.push_back(
      {.op = op, .operand = static_cast<int>(problem_.operands.size()), .reversed = reversed});
  problem_.operands.push_back(std::move(added));
  views_.push_back(view);
  return ok_status();
}

Status ChainBuilder::add_clip(const Node& node) {
  ElementwiseInstruction clip{.op = LoopOp::kClip,
                              .alpha = -std::numeric_limits<float>::infinity(),
                              .beta = std::numeric_limits<float>::infinity()};
  for (size_t i : {1U, 2U}) {
    if (!node.has_input(i)) continue;
    const Tensor* bound = lowering_.constant(node.inputs[i]);
    if (bound == nullptr || bound->size() != 1) {
      PARE_RETURN_IF_ERROR(
          add_operand(node, node.inputs[i], i == 1 ? LoopOp::kMax : LoopOp::kMin, false));
      continue;
    }
    (i == 1 ? clip.alpha : clip.beta) = to_float_vector(*bound)[0];
  }
  problem_.program.push_back(clip);
  return ok_status();
}

Status ChainBuilder::add_binary(const Node& node, LoopOp op) {
  // Min, Max and Sum take any number of inputs; the running value may be any of them.
  size_t at = 0;
  while (node.inputs[at] != running_) ++at;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (i == at) continue;
    PARE_RETURN_IF_ERROR(add_operand(node, node.inputs[i], op, i < at));
  }
  return ok_status();
}

// One scale for the whole tensor divides when storing; one for each channel is an operand.
Status ChainBuilder::add_quantize(const Node& node) {
  const Tensor* scale = lowering_.constant(node.inputs[1]);
  const DType type = lowering_.info(node.outputs[0]).type;
  PARE_ASSIGN_OR_RETURN(const int32_t zero_point, uniform_zero_point(lowering_, node));
  if (type != DType::kUInt8 && type != DType::kInt8) {
    return unsupported(
        fmt::format("node '{}' ({}): quantising to {}", node.name, node.op, dtype_name(type)));
  }
  if (scale != nullptr && scale->size() == 1) {
    problem_.dst_scale = to_float_vector(*scale)[0];
  } else {
    PARE_ASSIGN_OR_RETURN(const int64_t axis, quantisation_axis(lowering_, node));
    PARE_RETURN_IF_ERROR(add_operand(node, node.inputs[1], LoopOp::kDiv, false, axis));
  }
  problem_.dst.type = type;
  problem_.dst.zero_point = zero_point;
  problem_.dst_lo = dtype_min(type);
  problem_.dst_hi = dtype_max(type);
  return ok_status();
}

Status ChainBuilder::add_dequantize(const Node& node) {
  if (const auto q = uniform_quantisation(lowering_.graph(), lowering_.infos(), node)) {
    problem_.operands[0].zero_point = q->zero_point;
    problem_.operands[0].scale = q->scale;
    return ok_status();
  }
  PARE_ASSIGN_OR_RETURN(problem_.operands[0].zero_point, uniform_zero_point(lowering_, node));
  PARE_ASSIGN_OR_RETURN(const int64_t axis, quantisation_axis(lowering_, node));
  return add_operand(node, node.inputs[1], LoopOp::kMul, false, axis);
}

std::string ChainBuilder::operation() const {
  std::string text;
  for (const Node* node : nodes_) text += (text.empty() ? "" : " + ") + node->op;
  return text;
}

// From 8 bits to 8 bits by constants alone: 256 answers worked out once, by the reference loops, so
// that every processor gives the same bits.
bool ChainBuilder::is_table() const {
  const auto is_byte = [](DType t) { return t == DType::kUInt8 || t == DType::kInt8; };
  if (!is_byte(problem_.operands[0].type) || !is_byte(problem_.dst.type)) return false;
  for (size_t k = 1; k < views_.size(); ++k) {
    if (views_[k].size() != 1 || !lowering_.is_constant(views_[k])) return false;
  }
  return true;
}

Status ChainBuilder::emit_table(const Node& node, const View& dst) {
  ElementwiseProblem problem = problem_;
  problem.shape = {256};
  problem.dst.strides = {1};
  for (ElementwiseOperand& operand : problem.operands) operand.strides = {0};
  problem.operands[0].strides = {1};
  std::array<uint8_t, 256> codes;
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i);
  std::vector<const void*> srcs = {codes.data()};
  for (size_t k = 1; k < views_.size(); ++k) srcs.push_back(lowering_.constant_data(views_[k]));
  PARE_ASSIGN_OR_RETURN(const auto choice, choose_elementwise(problem, {.reference = true}));
  std::array<uint8_t, 256> table;
  ThreadPool pool(1);
  ElementwisePlan(problem, *choice.kernel).run(srcs.data(), table.data(), pool);
  return lowering_.emit_table(node, table, views_[0], dst);
}

Status ChainBuilder::emit() {
  // The result lies as the operand does that has its shape; dimensions are walked in that order.
  const View* model = &views_[0];
  for (const View& view : views_) {
    if (view.shape == shape_) {
      model = &view;
      break;
    }
  }
  const std::vector<int> order = lowering_.chain_order(
      model->shape == shape_ ? memory_order(*model) : plain_order(static_cast<int>(shape_.size())));
  const View dst = lowering_.allocate(problem_.dst.type, shape_, order);
  lowering_.bind(output_, dst);
  problem_.dst.strides = permuted(dst.strides, order);
  problem_.shape = permuted(shape_, order);
  for (ElementwiseOperand& operand : problem_.operands) {
    operand.strides = permuted(operand.strides, order);
  }
  Node whole;
  whole.name = nodes_.back()->name;
  whole.op = operation();
  if (is_table() && views_[0].shape == shape_ && is_dense_in(views_[0], order)) {
    return emit_table(whole, dst);
  }
  return lowering_.emit_program(whole, std::move(problem_), std::move(views_), dst);
}

Status lower_one(Lowering& lowering, const Node& node) {
  if (node.inputs.size() > kMaxElementwiseOperands) {
    return unsupported(fmt::format("node '{}' ({}): {} inputs, at most {} are supported", node.name,
                                   node.op, node.inputs.size(), kMaxElementwiseOperands));
  }
  const std::vector<const Node*> nodes = {&node};
  return ChainBuilder(lowering, nodes, node.outputs[0]).build();
}

}  // namespace

Status lower_chain(Lowering& lowering, const ChainGroup& group) {
  std::vector<const Node*> nodes;
  for (int i : group.nodes) nodes.push_back(&lowering.graph().nodes[static_cast<size_t>(i)]);
  return ChainBuilder(lowering, nodes, group.output).build();
}

Status lower_unary(Lowering& lowering, const Node& node) {
  const DType type = lowering.info(node.inputs[0]).type;
  return is_program_float(type) ? lower_one(lowering, node) : lower_typed_unary(lowering, node);
}

Status lower_binary(Lowering& lowering, const Node& node) {
  const DType type = lowering.info(node.inputs[0]).type;
  return is_program_float(type) ? lower_one(lowering, node) : lower_typed_binary(lowering, node);
}

Status lower_quantize(Lowering& lowering, const Node& node) { return lower_one(lowering, node); }
Status lower_dequantize(Lowering& lowering, const Node& node) {
  if (lowering.constant(node.inputs[0]) != nullptr) {
    PARE_ASSIGN_OR_RETURN(Tensor tensor, lowering.float_constant(node.outputs[0]));
    lowering.bind(node.outputs[0], lowering.constant_view(std::move(tensor)));
    return ok_status();
  }
  return lower_one(lowering, node);
}

}  // namespace pare
