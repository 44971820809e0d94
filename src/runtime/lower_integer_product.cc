// Lowering of MatMulInteger and ConvInteger whose int32 sums somebody wants.
#include <fmt/format.h>

#include <utility>

#include "graph/window.h"
#include "kernels/quantize/integer_products.h"
#include "runtime/lower.h"
#include "runtime/product.h"
#include "runtime/views.h"

namespace pare {
namespace {

// The zero points of an operand, read when the step runs; no view: 0.
std::vector<int32_t> read_zero_points(const StepContext& c, const View& view) {
  std::vector<int32_t> values;
  if (view.buffer < 0) return values;
  const ByteOperand operand{c.data(view), view.type == DType::kInt8};
  for (int64_t i = 0; i < view.size(); ++i) values.push_back(operand.at(i));
  return values;
}

Result<View> dense_input(Lowering& lowering, const Node& node, size_t i) {
  PARE_ASSIGN_OR_RETURN(const View view, lowering.value(node.inputs[i]));
  return lowering.dense(view, node.name);
}

struct Operands {
  View a;
  View b;
  View a_zero;
  View b_zero;
  View dst;
};

Status emit_matmul(Lowering& lowering, Step step, Operands v) {
  const Shape out_shape = v.dst.shape;
  if (v.a.shape.size() == 1) v.a = *reshaped_view(v.a, {1, v.a.shape[0]});
  if (v.b.shape.size() == 1) v.b = *reshaped_view(v.b, {v.b.shape[0], 1});
  const size_t ra = v.a.shape.size();
  const size_t rb = v.b.shape.size();
  MatMulIntegerProblem problem;
  problem.m = v.a.shape[ra - 2];
  problem.k = v.a.shape[ra - 1];
  problem.n = v.b.shape[rb - 1];
  const Shape batch = matrix_batch(v.a, v.b);
  problem.a_offsets = matrix_offsets(v.a, batch);
  problem.b_offsets = matrix_offsets(v.b, batch);
  step.run = [problem = std::move(problem), v](const StepContext& c) {
    run_matmul_integer(problem, {c.data(v.a), v.a.type == DType::kInt8},
                       {c.data(v.b), v.b.type == DType::kInt8}, read_zero_points(c, v.a_zero),
                       read_zero_points(c, v.b_zero), c.data<int32_t>(v.dst), c.pool());
    return ok_status();
  };
  lowering.emit(std::move(step));
  return ok_status();
}

Status emit_conv(Lowering& lowering, const Node& node, Step step, const Operands& v) {
  if (v.b.shape.size() != 4) {
    return unsupported(
        fmt::format("node '{}' ({}): weights of {}, expected two-dimensional "
                    "kernels",
                    node.name, node.op, shape_string(v.b.shape)));
  }
  PARE_ASSIGN_OR_RETURN(const Window w,
                        resolve_window(node, v.a.shape, v.b.shape[2], v.b.shape[3]));
  const ConvIntegerProblem problem{.batch = v.a.shape[0],
                                   .in_c = v.a.shape[1],
                                   .in_h = v.a.shape[2],
                                   .in_w = v.a.shape[3],
                                   .out_c = v.b.shape[0],
                                   .out_h = w.out_h,
                                   .out_w = w.out_w,
                                   .kernel_h = w.kernel_h,
                                   .kernel_w = w.kernel_w,
                                   .stride_h = w.stride_h,
                                   .stride_w = w.stride_w,
                                   .dilation_h = w.dilation_h,
                                   .dilation_w = w.dilation_w,
                                   .pad_top = w.pad_top,
                                   .pad_left = w.pad_left,
                                   .groups = node.int_attribute("group", 1)};
  step.run = [problem, v](const StepContext& c) {
    const std::vector<int32_t> zero = read_zero_points(c, v.a_zero);
    run_conv_integer(problem, {c.data(v.a), v.a.type == DType::kInt8},
                     {c.data(v.b), v.b.type == DType::kInt8}, zero.empty() ? 0 : zero[0],
                     read_zero_points(c, v.b_zero), c.data<int32_t>(v.dst), c.pool());
    return ok_status();
  };
  lowering.emit(std::move(step));
  return ok_status();
}

}  // namespace

Status lower_integer_product(Lowering& lowering, const ProductGroup& group) {
  const Node& node = lowering.graph().nodes[static_cast<size_t>(group.anchor)];
  Operands v;
  PARE_ASSIGN_OR_RETURN(v.a, dense_input(lowering, node, 0));
  PARE_ASSIGN_OR_RETURN(v.b, dense_input(lowering, node, 1));
  Step step;
  step.layer = describe(node, "integer_product_reference", "int32 sums are wanted themselves");
  step.reads = {v.a.buffer, v.b.buffer};
  if (node.has_input(2)) {
    PARE_ASSIGN_OR_RETURN(v.a_zero, dense_input(lowering, node, 2));
    step.reads.push_back(v.a_zero.buffer);
  }
  if (node.has_input(3)) {
    PARE_ASSIGN_OR_RETURN(v.b_zero, dense_input(lowering, node, 3));
    step.reads.push_back(v.b_zero.buffer);
  }
  const ValueInfo& out = lowering.info(node.outputs[0]);
  v.dst = lowering.allocate(DType::kInt32, out.shape);
  step.writes = {v.dst.buffer};
  lowering.bind(node.outputs[0], v.dst);
  if (node.op == "ConvInteger") return emit_conv(lowering, node, std::move(step), v);
  return emit_matmul(lowering, std::move(step), v);
}

}  // namespace pare
