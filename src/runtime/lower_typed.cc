// Lowering of elementwise operations that are not float: integers, masks, casts; and dynamic
// quantisation.
#include <fmt/format.h>

#include <memory>
#include <unordered_map>
#include <utility>

#include "kernels/elementwise/elementwise.h"
#include "kernels/quantize/quantize.h"
#include "runtime/lower.h"
#include "runtime/operator_kinds.h"
#include "runtime/views.h"

namespace pare {
namespace {

const std::unordered_map<std::string, TypedOp>& typed_ops() {
  static const std::unordered_map<std::string, TypedOp> kOps = {
      {"Add", TypedOp::kAdd},         {"Sum", TypedOp::kAdd},
      {"Sub", TypedOp::kSub},         {"Mul", TypedOp::kMul},
      {"Div", TypedOp::kDiv},         {"Min", TypedOp::kMin},
      {"Max", TypedOp::kMax},         {"Pow", TypedOp::kPow},
      {"Mod", TypedOp::kMod},         {"Equal", TypedOp::kEqual},
      {"Greater", TypedOp::kGreater}, {"GreaterOrEqual", TypedOp::kGreaterOrEqual},
      {"Less", TypedOp::kLess},       {"LessOrEqual", TypedOp::kLessOrEqual},
      {"And", TypedOp::kAnd},         {"Or", TypedOp::kOr},
  };
  return kOps;
}

Status in_node(const Node& node, const Status& status) {
  return status.with_context(fmt::format("node '{}' ({})", node.name, node.op));
}

Status unsupported_type(const Node& node, DType type) {
  return unsupported(
      fmt::format("node '{}' ({}): no kernel for {}", node.name, node.op, dtype_name(type)));
}

Step typed_step(const Node& node) {
  Step step;
  step.layer = describe(node, "typed_reference", "the only one for this type");
  return step;
}

// One step op(a, b) of two views into a fresh dense one of `shape`.
Result<View> emit_binary(Lowering& lowering, const Node& node, TypedOp op, const View& a,
                         const View& b, DType out_type, const Shape& shape) {
  const TypedBinaryProblem problem{.op = op,
                                   .type = a.type,
                                   .shape = shape,
                                   .a_strides = broadcast_strides(a, shape),
                                   .b_strides = broadcast_strides(b, shape)};
  PARE_RETURN_IF_ERROR(in_node(node, check_typed_binary(problem)));
  const View dst = lowering.allocate(out_type, shape);
  Step step = typed_step(node);
  step.reads = {a.buffer, b.buffer};
  step.writes = {dst.buffer};
  step.run = [problem, a, b, dst](const StepContext& c) {
    run_typed_binary(problem, c.data(a), c.data(b), c.data(dst));
    return ok_status();
  };
  lowering.emit(std::move(step));
  return dst;
}

}  // namespace

Status lower_typed_binary(Lowering& lowering, const Node& node) {
  const auto op = typed_ops().find(node.op);
  if (op == typed_ops().end()) {
    return unsupported_type(node, lowering.info(node.inputs[0]).type);
  }
  const ValueInfo& out = lowering.info(node.outputs[0]);
  PARE_ASSIGN_OR_RETURN(View running, lowering.value(node.inputs[0]));
  if (is_program_float(running.type) && running.type != DType::kFloat32) {
    PARE_ASSIGN_OR_RETURN(running, lowering.converted(running, DType::kFloat32, node.name));
  }
  if (node.inputs.size() == 1) {
    lowering.bind(node.outputs[0], running);
    return ok_status();
  }
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    PARE_ASSIGN_OR_RETURN(View next, lowering.value(node.inputs[i]));
    if (next.type != running.type) {
      if (!is_program_float(next.type)) return unsupported_type(node, next.type);
      PARE_ASSIGN_OR_RETURN(next, lowering.converted(next, DType::kFloat32, node.name));
    }
    PARE_ASSIGN_OR_RETURN(
        running, emit_binary(lowering, node, op->second, running, next, out.type, out.shape));
  }
  lowering.bind(node.outputs[0], running);
  return ok_status();
}

Status lower_typed_unary(Lowering& lowering, const Node& node) {
  TypedUnaryOp op = TypedUnaryOp::kNot;
  if (node.op == "Neg") {
    op = TypedUnaryOp::kNeg;
  } else if (node.op == "Abs") {
    op = TypedUnaryOp::kAbs;
  } else if (node.op == "Sign") {
    op = TypedUnaryOp::kSign;
  } else if (node.op != "Not") {
    return unsupported_type(node, lowering.info(node.inputs[0]).type);
  }
  PARE_ASSIGN_OR_RETURN(const View in, lowering.value(node.inputs[0]));
  PARE_ASSIGN_OR_RETURN(const View src, lowering.dense(in, node.name));
  PARE_RETURN_IF_ERROR(in_node(node, check_typed_unary(op, src.type)));
  const View dst = lowering.allocate(lowering.info(node.outputs[0]).type, src.shape);
  Step step = typed_step(node);
  step.reads = {src.buffer};
  step.writes = {dst.buffer};
  step.run = [op, src, dst](const StepContext& c) {
    run_typed_unary(op, src.type, src.size(), c.data(src), c.data(dst));
    return ok_status();
  };
  lowering.emit(std::move(step));
  lowering.bind(node.outputs[0], dst);
  return ok_status();
}

Status lower_where(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(const View condition, lowering.value(node.inputs[0]));
  PARE_ASSIGN_OR_RETURN(const View a, lowering.value(node.inputs[1]));
  PARE_ASSIGN_OR_RETURN(const View b, lowering.value(node.inputs[2]));
  const ValueInfo& out = lowering.info(node.outputs[0]);
  const WhereProblem problem{.element_bytes = dtype_bits(out.type) / 8,
                             .shape = out.shape,
                             .condition_strides = broadcast_strides(condition, out.shape),
                             .a_strides = broadcast_strides(a, out.shape),
                             .b_strides = broadcast_strides(b, out.shape)};
  const View dst = lowering.allocate(out.type, out.shape);
  Step step = typed_step(node);
  step.reads = {condition.buffer, a.buffer, b.buffer};
  step.writes = {dst.buffer};
  step.run = [=](const StepContext& c) {
    run_where(problem, c.data(condition), c.data(a), c.data(b), c.data(dst));
    return ok_status();
  };
  lowering.emit(std::move(step));
  lowering.bind(node.outputs[0], dst);
  return ok_status();
}

Status lower_cast(Lowering& lowering, const Node& node) {
  if (lowering.constant(node.inputs[0]) != nullptr &&
      lowering.info(node.outputs[0]).type == DType::kFloat32) {
    PARE_ASSIGN_OR_RETURN(Tensor tensor, lowering.float_constant(node.outputs[0]));
    if (!tensor.empty()) {
      lowering.bind(node.outputs[0], lowering.constant_view(std::move(tensor)));
      return ok_status();
    }
  }
  PARE_ASSIGN_OR_RETURN(const View in, lowering.value(node.inputs[0]));
  const DType type = lowering.info(node.outputs[0]).type;
  if (in.type == type) {
    lowering.bind(node.outputs[0], in);
    return ok_status();
  }
  const bool readable = is_program_float(in.type) || in.type == DType::kUInt8 ||
                        in.type == DType::kInt8 || in.type == DType::kInt32 ||
                        in.type == DType::kBool;
  if (is_program_float(type) && readable) {
    PARE_ASSIGN_OR_RETURN(View out, lowering.converted(in, type, node.name));
    lowering.bind(node.outputs[0], std::move(out));
    return ok_status();
  }
  if (dtype_bits(type) < 8) return unsupported_type(node, type);
  PARE_ASSIGN_OR_RETURN(const View src, lowering.dense(in, node.name));
  const View dst = lowering.allocate(type, src.shape);
  Step step = typed_step(node);
  step.reads = {src.buffer};
  step.writes = {dst.buffer};
  step.run = [src, dst](const StepContext& c) {
    run_cast(src.type, dst.type, src.size(), c.data(src), c.data(dst));
    return ok_status();
  };
  lowering.emit(std::move(step));
  lowering.bind(node.outputs[0], dst);
  return ok_status();
}

Status lower_dynamic_quantize(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(View src, lowering.value(node.inputs[0]));
  PARE_ASSIGN_OR_RETURN(src, lowering.converted(src, DType::kFloat32, node.name));
  // Any dense order will do; the codes keep it.
  const std::vector<int> order = memory_order(src);
  PARE_ASSIGN_OR_RETURN(src, lowering.in_order(src, order, node.name));
  const View codes = lowering.allocate(DType::kUInt8, src.shape, order);
  const View scale = lowering.allocate(DType::kFloat32, {});
  const View zero_point = lowering.allocate(DType::kUInt8, {});
  const DynamicQuantizeProblem problem{.count = src.size()};
  PARE_ASSIGN_OR_RETURN(const auto choice, choose_dynamic_quantize(problem, lowering.kernels()));
  Step step;
  step.layer = describe(node, choice.kernel->name, choice.reason);
  step.reads = {src.buffer};
  step.writes = {codes.buffer, scale.buffer, zero_point.buffer};
  step.run = [=, kernel = choice.kernel](const StepContext& c) {
    run_dynamic_quantize(*kernel, problem, c.data<float>(src), c.data<uint8_t>(codes),
                         c.data<float>(scale), c.data<uint8_t>(zero_point), c.pool());
    return ok_status();
  };
  lowering.emit(std::move(step));
  const View outputs[] = {codes, scale, zero_point};
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (!node.outputs[i].empty()) lowering.bind(node.outputs[i], outputs[i]);
  }
  return ok_status();
}

}  // namespace pare
