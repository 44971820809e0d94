// Lowering of convolutions to the conv family of kernels.
#include <fmt/format.h>

#include <memory>
#include <utility>

#include "base/cache_line.h"
#include "base/numerals.h"
#include "graph/window.h"
#include "kernels/conv/conv.h"
#include "runtime/lower.h"
#include "runtime/product.h"
#include "runtime/views.h"

namespace pare {
namespace {

ConvProblem conv_problem(const Shape& in, const Shape& weights, const Window& w, int64_t groups) {
  ConvProblem p;
  p.batch = in[0];
  p.in_c = in[1];
  p.in_h = in[2];
  p.in_w = in[3];
  p.out_c = weights[0];
  p.out_h = w.out_h;
  p.out_w = w.out_w;
  p.kernel_h = w.kernel_h;
  p.kernel_w = w.kernel_w;
  p.stride_h = w.stride_h;
  p.stride_w = w.stride_w;
  p.dilation_h = w.dilation_h;
  p.dilation_w = w.dilation_w;
  p.pad_top = w.pad_top;
  p.pad_left = w.pad_left;
  p.pad_bottom = w.pad_bottom;
  p.pad_right = w.pad_right;
  p.groups = groups;
  return p;
}

}  // namespace

Status lower_conv(Lowering& lowering, const ProductGroup& group) {
  const Node& node = lowering.graph().nodes[static_cast<size_t>(group.anchor)];
  const std::string where = fmt::format("node '{}' ({})", node.name, node.op);
  if (group.general) return unsupported(where + ": the weights and bias must be constants");
  PARE_ASSIGN_OR_RETURN(View src, lowering.value(group.source));
  const Shape& weights_shape = lowering.info(group.weights).shape;
  if (weights_shape.size() != 4) {
    return unsupported(fmt::format("{}: weights of {}, expected two-dimensional kernels", where,
                                   shape_string(weights_shape)));
  }
  PARE_ASSIGN_OR_RETURN(const Window window,
                        resolve_window(node, src.shape, weights_shape[2], weights_shape[3]));
  ConvProblem problem =
      conv_problem(src.shape, weights_shape, window, node.int_attribute("group", 1));
  const bool integer = group.source_quantisation.has_value();
  const auto load_weights = [&]() -> Result<Tensor> {
    if (integer) return *lowering.constant(group.weights);
    PARE_ASSIGN_OR_RETURN(const Tensor tensor, lowering.stored_constant(group.weights));
    if (tensor.empty()) return unsupported(where + ": the weights must be constant");
    return tensor;
  };
  problem.weights_type = lowering.stored_type(group.weights);
  PARE_ASSIGN_OR_RETURN(src, lowering.in_order(src, channels_last_order(4), node.name));
  problem.src_type = src.type;
  if (integer) {
    problem.weights_type = DType::kInt8;
    problem.pad_value = static_cast<uint8_t>(group.source_quantisation->zero_point);
  }
  const ProductWeights weights{
      .layer = node.name, .channels = problem.out_c, .sums = [&]() -> Result<std::vector<int32_t>> {
        PARE_ASSIGN_OR_RETURN(const Tensor tensor, load_weights());
        std::vector<int32_t> sums(static_cast<size_t>(problem.out_c));
        conv_channel_sums(problem, tensor.values<int8_t>().data(), sums.data());
        return sums;
      }};
  const Shape out_shape = {problem.batch, problem.out_c, problem.out_h, problem.out_w};
  PARE_ASSIGN_OR_RETURN(
      const EpiloguePlan epilogue,
      EpiloguePlan::create(lowering, group, weights, out_shape, channels_last_order(4)));
  problem.dst_type = epilogue.dst_type();
  problem.activation = epilogue.activation();
  problem.residual = epilogue.has_residual();
  PARE_ASSIGN_OR_RETURN(problem.weight_density,
                        weight_density(lowering, group.weights, load_weights));
  auto choice = choose_tuned(lowering, node.name, [&problem](const KernelRequest& request) {
    return choose_conv(problem, request);
  });
  if (!choice.ok()) return choice.status().with_context(where);
  const ConvKernel* kernel = choice->kernel;
  PARE_ASSIGN_OR_RETURN(
      const Tensor packed,
      lowering.weights().get(
          // What packing looks at beside the tensor is in the key: two nodes may share it.
          fmt::format("{}|{}|{}|{} groups|{}", group.weights, kernel->packing,
                      dtype_name(problem.weights_type), problem.groups, problem.dilation_w),
          [&]() -> Result<Tensor> {
            PARE_ASSIGN_OR_RETURN(const Tensor tensor, load_weights());
            Tensor out(DType::kUInt8, {conv_packed_bytes(*kernel, problem, tensor.data())});
            conv_pack(*kernel, problem, tensor.data(), out.mutable_data());
            return out;
          }));
  lowering.mark_packed(group.weights);
  const View weights_view = lowering.stored_view(packed);
  const View dst = lowering.allocate(problem.dst_type, out_shape, channels_last_order(4));
  Step step;
  step.layer = describe(node, kernel->name, choice->reason);
  step.layer.operation =
      fmt::format("{} {}x{}", group_operation(lowering, group), problem.kernel_h, problem.kernel_w);
  step.layer.macs = saturating_product({problem.out_h, problem.out_w, problem.out_c,
                                        problem.kernel_h, problem.kernel_w, weights_shape[1]});
  step.layer.weight_bytes = packed.byte_count();
  step.layer.weight_density = problem.weight_density;
  describe_work(step.layer, problem.weights_type, element_count(weights_shape));
  step.layer.kernels = able_kernels(conv_kernels(), problem, lowering.kernels());
  step.reads = {src.buffer, weights_view.buffer};
  epilogue.add_reads(step.reads);
  step.writes = {dst.buffer};
  const int64_t kernel_scratch =
      round_up_64(conv_scratch_bytes(*kernel, problem, lowering.options().threads));
  step.scratch_bytes = kernel_scratch + epilogue.scratch_bytes();
  step.run = [=](const StepContext& c) {
    ConvArgs args;
    args.src = c.data(src);
    args.packed = c.data(weights_view);
    args.dst = c.data(dst);
    args.epilogue = epilogue.resolve(c, c.scratch().data() + kernel_scratch, problem.out_c);
    args.scratch = c.scratch().first(static_cast<size_t>(kernel_scratch));
    conv_run(*kernel, problem, args, c.pool());
    return ok_status();
  };
  lowering.emit(std::move(step));
  lowering.bind(group.output, dst);
  return ok_status();
}

}  // namespace pare
