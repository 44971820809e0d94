// Lowering of normalisations, attention, pooling and reductions.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <unordered_map>
#include <utility>

#include "graph/window.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/norm/norm.h"
#include "kernels/pool/pool.h"
#include "kernels/reduce/reduce.h"
#include "runtime/fusion.h"
#include "runtime/lower.h"
#include "runtime/operator_kinds.h"
#include "runtime/views.h"

namespace pare {
namespace {

// A parameter (gamma, beta) as dense float32.
Result<View> float_parameter(Lowering& lowering, const Node& node, size_t input) {
  PARE_ASSIGN_OR_RETURN(View view, lowering.value(node.inputs[input]));
  PARE_ASSIGN_OR_RETURN(view, lowering.converted(view, DType::kFloat32, node.name));
  return lowering.dense(view, node.name);
}

// An order in which the dimensions `inner` lie innermost, in that sequence, and the others as they
// do in `view`.
std::vector<int> order_with_inner(const View& view, const std::vector<int>& inner) {
  std::vector<int> order;
  for (int d : memory_order(view)) {
    if (std::find(inner.begin(), inner.end(), d) == inner.end()) order.push_back(d);
  }
  order.insert(order.end(), inner.begin(), inner.end());
  return order;
}

Status unsupported_output(const Node& node, size_t output) {
  return unsupported(
      fmt::format("node '{}' ({}): output {} is not computed", node.name, node.op, output));
}

}  // namespace

Status lower_norm(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(View src, lowering.value(node.inputs[0]));
  const auto rank = static_cast<int64_t>(src.shape.size());
  PARE_ASSIGN_OR_RETURN(const int64_t axis, normalised_axis(lowering.rule_context(node),
                                                            node.int_attribute("axis", -1), rank));
  const bool layer_norm = node.op == "LayerNormalization";
  NormProblem problem;
  problem.kind = layer_norm             ? NormKind::kLayerNorm
                 : node.op == "Softmax" ? NormKind::kSoftmax
                                        : NormKind::kLogSoftmax;
  std::vector<int> inner = {static_cast<int>(axis)};
  for (int64_t d = axis + 1; layer_norm && d < rank; ++d) inner.push_back(static_cast<int>(d));
  const std::vector<int> order = order_with_inner(src, inner);
  if (!is_program_float(src.type)) {
    PARE_ASSIGN_OR_RETURN(src, lowering.converted(src, DType::kFloat32, node.name));
  }
  PARE_ASSIGN_OR_RETURN(src, lowering.in_order(src, order, node.name));
  problem.cols = 1;
  for (int d : inner) problem.cols *= src.shape[static_cast<size_t>(d)];
  problem.rows = problem.cols == 0 ? 0 : src.size() / problem.cols;
  problem.epsilon = node.float_attribute("epsilon", 1e-5F);
  problem.src_type = src.type;
  const TailGroup* tail = lowering.tail(node);
  const Quantisation rounding = tail == nullptr ? Quantisation() : tail->quantisation;
  const std::string& output = lowering.result_of(node);
  problem.dst_type = lowering.info(output).type;
  View gamma;
  View beta;
  Step step;
  step.reads = {src.buffer};
  if (layer_norm) {
    for (size_t i = 1; i < node.outputs.size(); ++i) {
      if (!node.outputs[i].empty()) return unsupported_output(node, i);
    }
    PARE_ASSIGN_OR_RETURN(gamma, float_parameter(lowering, node, 1));
    step.reads.push_back(gamma.buffer);
    if (node.has_input(2)) {
      PARE_ASSIGN_OR_RETURN(beta, float_parameter(lowering, node, 2));
      step.reads.push_back(beta.buffer);
    }
    if (gamma.size() != problem.cols || (node.has_input(2) && beta.size() != problem.cols)) {
      return unsupported(fmt::format("node '{}' ({}): scale of {} for rows of {}", node.name,
                                     node.op, shape_string(gamma.shape), problem.cols));
    }
  }
  PARE_ASSIGN_OR_RETURN(const auto choice, choose_norm(problem, lowering.kernels()));
  const View dst = lowering.allocate(problem.dst_type, src.shape, order);
  step.layer = describe(node, choice.kernel->name, choice.reason);
  step.writes = {dst.buffer};
  const auto run = [=, kernel = choice.kernel](const StepContext& c, int64_t first, int64_t count) {
    NormProblem some = problem;
    some.rows = count;
    const int64_t at = first * problem.cols;
    NormArgs args;
    args.src = c.data(src, at);
    if (gamma.buffer >= 0) args.gamma = c.data<float>(gamma);
    if (beta.buffer >= 0) args.beta = c.data<float>(beta);
    args.dst = c.data(dst, at);
    args.out_scale = rounding.scale;
    args.out_zero_point = rounding.zero_point;
    norm_run(*kernel, some, args, c.pool());
    return ok_status();
  };
  step.run_by_rows({problem.rows, [](int64_t) { return int64_t{0}; }, run});
  lowering.emit(std::move(step));
  lowering.bind(output, dst);
  return ok_status();
}

namespace {

// A pool of `src` (N, C, H, W; any order) into a fresh channels-last view.
Result<View> emit_pool(Lowering& lowering, const Node& node, View src, PoolProblem problem) {
  PARE_ASSIGN_OR_RETURN(src, lowering.in_order(src, channels_last_order(4), node.name));
  problem.batch = src.shape[0];
  problem.channels = src.shape[1];
  problem.in_h = src.shape[2];
  problem.in_w = src.shape[3];
  problem.src_type = src.type;
  problem.dst_type = src.type;
  PARE_ASSIGN_OR_RETURN(const auto choice, choose_pool(problem, lowering.kernels()));
  const View dst = lowering.allocate(
      problem.dst_type, {problem.batch, problem.channels, problem.out_h, problem.out_w},
      channels_last_order(4));
  Step step;
  step.layer = describe(node, choice.kernel->name, choice.reason);
  step.reads = {src.buffer};
  step.writes = {dst.buffer};
  step.run = [=, kernel = choice.kernel](const StepContext& c) {
    PoolArgs args;
    args.src = c.data(src);
    args.dst = c.data(dst);
    pool_run(*kernel, problem, args, c.pool());
    return ok_status();
  };
  lowering.emit(std::move(step));
  return dst;
}

PoolProblem global_problem(const Shape& shape) {
  PoolProblem problem;
  problem.out_h = problem.out_w = 1;
  problem.kernel_h = problem.stride_h = shape[2];
  problem.kernel_w = problem.stride_w = shape[3];
  return problem;
}

}  // namespace

Status lower_pool(Lowering& lowering, const Node& node) {
  if (node.outputs.size() > 1 && !node.outputs[1].empty()) return unsupported_output(node, 1);
  PARE_ASSIGN_OR_RETURN(const View src, lowering.value(node.inputs[0]));
  const bool global = node.op.starts_with("Global");
  if (src.shape.size() != 4) {
    return unsupported(fmt::format("node '{}' ({}): input of {}, expected NxCxHxW", node.name,
                                   node.op, shape_string(src.shape)));
  }
  PoolProblem problem = global_problem(src.shape);
  if (!global) {
    PARE_ASSIGN_OR_RETURN(const Window w, resolve_window(node, src.shape, 0, 0));
    problem.out_h = w.out_h;
    problem.out_w = w.out_w;
    problem.kernel_h = w.kernel_h;
    problem.kernel_w = w.kernel_w;
    problem.stride_h = w.stride_h;
    problem.stride_w = w.stride_w;
    problem.dilation_h = w.dilation_h;
    problem.dilation_w = w.dilation_w;
    problem.pad_top = w.pad_top;
    problem.pad_left = w.pad_left;
    problem.pad_bottom = w.pad_bottom;
    problem.pad_right = w.pad_right;
    problem.count_include_pad = w.count_include_pad;
  }
  problem.kind = node.op.ends_with("MaxPool") ? PoolKind::kMax : PoolKind::kAverage;
  PARE_ASSIGN_OR_RETURN(View dst, emit_pool(lowering, node, src, problem));
  lowering.bind(node.outputs[0], std::move(dst));
  return ok_status();
}

namespace {

const std::unordered_map<std::string, ReduceOp>& reduce_ops() {
  static const std::unordered_map<std::string, ReduceOp> kOps = {
      {"ReduceMean", ReduceOp::kMean}, {"ReduceSum", ReduceOp::kSum},
      {"ReduceMax", ReduceOp::kMax},   {"ReduceMin", ReduceOp::kMin},
      {"ReduceProd", ReduceOp::kProd}, {"ReduceL2", ReduceOp::kL2},
  };
  return kOps;
}

// Kept and reduced dimensions of `src` apart.
ReduceProblem split_dimensions(const View& src, const std::vector<int64_t>& axes) {
  ReduceProblem problem;
  for (size_t d = 0; d < src.shape.size(); ++d) {
    const bool reduced = std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) != axes.end();
    (reduced ? problem.reduced_shape : problem.kept_shape).push_back(src.shape[d]);
    (reduced ? problem.reduced_strides : problem.kept_strides).push_back(src.strides[d]);
  }
  return problem;
}

}  // namespace

Status lower_reduce(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(View src, lowering.value(node.inputs[0]));
  const RuleContext context = lowering.rule_context(node);
  const auto rank = static_cast<int64_t>(src.shape.size());
  PARE_ASSIGN_OR_RETURN(std::vector<int64_t> axes, axes_of(context));
  if (axes.empty() && node.int_attribute("noop_with_empty_axes", 0) != 0) {
    lowering.bind(node.outputs[0], src);
    return ok_status();
  }
  if (axes.empty()) {
    for (int64_t d = 0; d < rank; ++d) axes.push_back(d);
  }
  PARE_ASSIGN_OR_RETURN(axes, normalised_axes(context, std::move(axes), rank));
  const ValueInfo& out = lowering.info(node.outputs[0]);
  if (node.op == "ReduceMean" && rank == 4 && axes == std::vector<int64_t>{2, 3} &&
      is_program_float(src.type)) {
    PoolProblem problem = global_problem(src.shape);
    problem.kind = PoolKind::kAverage;
    PARE_ASSIGN_OR_RETURN(const View pooled, emit_pool(lowering, node, src, problem));
    lowering.bind(node.outputs[0], *reshaped_view(pooled, out.shape));
    return ok_status();
  }
  const bool floating = is_program_float(src.type);
  if (!floating && src.type != DType::kInt64) {
    return unsupported(
        fmt::format("node '{}' ({}): no kernel for {}", node.name, node.op, dtype_name(src.type)));
  }
  if (floating) {
    PARE_ASSIGN_OR_RETURN(src, lowering.converted(src, DType::kFloat32, node.name));
  }
  ReduceProblem problem = split_dimensions(src, axes);
  problem.op = reduce_ops().at(node.op);
  View dst = lowering.allocate(src.type, out.shape);
  Step step;
  step.layer = describe(node, "reduce_reference", "the only one");
  step.reads = {src.buffer};
  step.writes = {dst.buffer};
  step.run = [=](const StepContext& c) {
    if (floating) {
      run_reduce(problem, c.data<float>(src), c.data<float>(dst), c.pool());
    } else {
      run_reduce_int64(problem, c.data<int64_t>(src), c.data<int64_t>(dst));
    }
    return ok_status();
  };
  lowering.emit(std::move(step));
  PARE_ASSIGN_OR_RETURN(dst, lowering.converted(dst, out.type, node.name));
  lowering.bind(node.outputs[0], dst);
  return ok_status();
}

Status lower_arg_max(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(View src, lowering.value(node.inputs[0]));
  if (!is_program_float(src.type)) {
    return unsupported(
        fmt::format("node '{}' (ArgMax): no kernel for {}", node.name, dtype_name(src.type)));
  }
  PARE_ASSIGN_OR_RETURN(src, lowering.converted(src, DType::kFloat32, node.name));
  PARE_ASSIGN_OR_RETURN(const int64_t axis,
                        normalised_axis(lowering.rule_context(node), node.int_attribute("axis", 0),
                                        static_cast<int64_t>(src.shape.size())));
  const ReduceProblem problem = split_dimensions(src, {axis});
  const bool last = node.int_attribute("select_last_index", 0) != 0;
  const View dst = lowering.allocate(DType::kInt64, lowering.info(node.outputs[0]).shape);
  Step step;
  step.layer = describe(node, "arg_max_reference", "the only one");
  step.reads = {src.buffer};
  step.writes = {dst.buffer};
  step.run = [=](const StepContext& c) {
    run_arg_max(problem, last, c.data<float>(src), c.data<int64_t>(dst));
    return ok_status();
  };
  lowering.emit(std::move(step));
  lowering.bind(node.outputs[0], dst);
  return ok_status();
}

// x * scale / sqrt(var + epsilon) + (bias - mean * scale / sqrt(var + epsilon)), for one that no
// pass could fold into a convolution.
Status lower_batch_norm(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(const View src, lowering.value(node.inputs[0]));
  std::vector<std::vector<float>> parameters;
  for (size_t i = 1; i < 5; ++i) {
    PARE_ASSIGN_OR_RETURN(const Tensor tensor, lowering.float_constant(node.inputs[i]));
    if (tensor.empty()) {
      return unsupported(
          fmt::format("node '{}' ({}): input {} must be a constant", node.name, node.op, i));
    }
    parameters.push_back(to_float_vector(tensor));
  }
  const float epsilon = node.float_attribute("epsilon", 1e-5F);
  const size_t channels = parameters[0].size();
  std::vector<float> scale(channels);
  std::vector<float> shift(channels);
  for (size_t c = 0; c < channels; ++c) {
    scale[c] = parameters[0][c] / std::sqrt(parameters[3][c] + epsilon);
    shift[c] = parameters[1][c] - parameters[2][c] * scale[c];
  }
  ElementwiseProblem problem;
  const std::vector<int> order = memory_order(src);
  const View dst = lowering.allocate(lowering.info(node.outputs[0]).type, src.shape, order);
  Shape channel_strides(src.shape.size(), 0);
  channel_strides[1] = 1;
  problem.shape = permuted(src.shape, order);
  problem.operands = {{.type = src.type, .strides = permuted(src.strides, order)},
                      {.strides = permuted(channel_strides, order)},
                      {.strides = permuted(channel_strides, order)}};
  problem.program = {{.op = LoopOp::kMul, .operand = 1}, {.op = LoopOp::kAdd, .operand = 2}};
  problem.dst = {.type = dst.type, .strides = permuted(dst.strides, order)};
  const auto count = static_cast<int64_t>(channels);
  const View scale_view = lowering.constant_view(Tensor::from_values<float>({count}, scale));
  const View shift_view = lowering.constant_view(Tensor::from_values<float>({count}, shift));
  PARE_RETURN_IF_ERROR(
      lowering.emit_program(node, std::move(problem), {src, scale_view, shift_view}, dst));
  lowering.bind(node.outputs[0], dst);
  return ok_status();
}

}  // namespace pare
