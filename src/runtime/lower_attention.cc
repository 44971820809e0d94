// Lowering of attention, with the product that makes its queries, keys and values where one kernel
// does both.
#include <utility>
#include <vector>

#include "base/cache_line.h"
#include "base/numerals.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/projected.h"
#include "runtime/lower.h"
#include "runtime/operator_kinds.h"
#include "runtime/product.h"

namespace pare {
namespace {

// Where the result goes and how it is rounded.
struct Target {
  std::string output;
  Quantisation rounding;
  View dst;
};

Target target_of(Lowering& lowering, const Node& node) {
  const TailGroup* tail = lowering.tail(node);
  Target target;
  target.output = lowering.result_of(node);
  if (tail != nullptr) target.rounding = tail->quantisation;
  const ValueInfo& info = lowering.info(target.output);
  target.dst = lowering.allocate(info.type, info.shape);
  return target;
}

AttentionStrides strides_of(const View& view, int64_t dim) {
  return {view.strides[0], view.strides[1], dim};
}

int64_t macs_of(const AttentionProblem& p) {
  return saturating_product({p.heads, p.q_tokens, p.kv_tokens, p.qk_dim + p.v_dim});
}

Status lower_apart(Lowering& lowering, const Node& node) {
  PARE_ASSIGN_OR_RETURN(const auto parts, attention_operands(lowering, node, DType::kFloat32));
  const View& q = parts[0];
  const View& k = parts[1];
  const View& v = parts[2];
  AttentionProblem problem;
  problem.batch = q.shape[0];
  problem.heads = node.int_attribute("num_heads", 1);
  problem.q_tokens = q.shape[1];
  problem.kv_tokens = k.shape[1];
  problem.qk_dim = q.shape[2] / problem.heads;
  problem.v_dim = v.shape[2] / problem.heads;
  problem.scale = node.float_attribute("scale", 1.0F);
  const Target target = target_of(lowering, node);
  problem.dst_type = target.dst.type;
  PARE_ASSIGN_OR_RETURN(const auto choice, choose_attention(problem, lowering.kernels()));
  Step step;
  step.layer = describe(node, choice.kernel->name, choice.reason);
  step.layer.macs = macs_of(problem);
  step.reads = {q.buffer, k.buffer, v.buffer};
  step.writes = {target.dst.buffer};
  step.scratch_bytes = attention_scratch_bytes(*choice.kernel, problem, lowering.options().threads);
  step.run = [=, kernel = choice.kernel](const StepContext& c) {
    AttentionArgs args;
    args.q = c.data<float>(q);
    args.k = c.data<float>(k);
    args.v = c.data<float>(v);
    args.dst = c.data(target.dst);
    args.q_strides = strides_of(q, problem.qk_dim);
    args.k_strides = strides_of(k, problem.qk_dim);
    args.v_strides = strides_of(v, problem.v_dim);
    args.dst_strides = strides_of(target.dst, problem.v_dim);
    args.out_scale = target.rounding.scale;
    args.out_zero_point = target.rounding.zero_point;
    args.scratch = c.scratch();
    attention_run(*kernel, problem, args, c.pool());
    return ok_status();
  };
  lowering.emit(std::move(step));
  lowering.bind(target.output, target.dst);
  return ok_status();
}

// One task is a head of an image. Few heads are shared out unevenly among the threads: three among
// two cost a third.
bool shares_evenly(int64_t tasks, int64_t threads) {
  return tasks % threads == 0 || tasks >= 4 * threads;
}

ProjectedProblem projected_problem(const Lowering& lowering, const Node& node,
                                   const DenseLayer& product) {
  const Shape& qkv = lowering.info(node.inputs[0]).shape;
  ProjectedProblem problem;
  AttentionProblem& a = problem.attention;
  a.batch = qkv[0];
  a.heads = node.int_attribute("num_heads", 1);
  a.q_tokens = a.kv_tokens = qkv[1];
  a.qk_dim = a.v_dim = qkv[2] / 3 / a.heads;
  a.scale = node.float_attribute("scale", 1.0F);
  a.dst_type = lowering.info(lowering.result_of(node)).type;
  problem.product = product.problem;
  problem.packing = product.choice.kernel->packing;
  return problem;
}

Status emit_projected(Lowering& lowering, const Node& node, const ProjectedProblem& problem,
                      const Choice<ProjectedKernel>& choice, const DenseLayer& product) {
  const Target target = target_of(lowering, node);
  Step step;
  step.layer = product.plan;
  step.layer.name = node.name;
  step.layer.operation += " + Attention";
  step.layer.kernel = choice.kernel->name;
  step.layer.reason = choice.reason + ": the product of each head feeds it from the cache";
  step.layer.macs += macs_of(problem.attention);
  step.reads = {product.src.buffer, product.weights.buffer};
  product.epilogue.add_reads(step.reads);
  step.writes = {target.dst.buffer};
  const int64_t kernel_scratch =
      round_up_64(projected_scratch_bytes(*choice.kernel, problem, lowering.options().threads));
  step.scratch_bytes = kernel_scratch + product.epilogue.scratch_bytes();
  step.run = [=, kernel = choice.kernel, src = product.src, weights = product.weights,
              epilogue = product.epilogue](const StepContext& c) {
    ProjectedArgs args;
    args.product.src = c.data(src);
    args.product.src_stride = src.strides[0];
    args.product.packed = c.data(weights);
    args.product.src_zero_point = epilogue.source_zero_point(c);
    args.product.epilogue = epilogue.resolve(c, c.scratch().data() + kernel_scratch, 0);
    args.dst = c.data(target.dst);
    args.dst_strides = strides_of(target.dst, problem.attention.v_dim);
    args.out_scale = target.rounding.scale;
    args.out_zero_point = target.rounding.zero_point;
    args.scratch = c.scratch().first(static_cast<size_t>(kernel_scratch));
    projected_run(*kernel, problem, args, c.pool());
    return ok_status();
  };
  lowering.emit(std::move(step));
  lowering.bind(target.output, target.dst);
  return ok_status();
}

}  // namespace

Status lower_attention(Lowering& lowering, const Node& node) {
  const ProductGroup* group = lowering.projection(node);
  if (group == nullptr) return lower_apart(lowering, node);
  PARE_ASSIGN_OR_RETURN(const DenseLayer product, prepare_dense(lowering, *group));
  const ProjectedProblem problem = projected_problem(lowering, node, product);
  const int64_t tasks = problem.attention.batch * problem.attention.heads;
  if (shares_evenly(tasks, lowering.options().threads)) {
    if (const auto choice = choose_projected(problem, lowering.kernels()); choice.ok()) {
      return emit_projected(lowering, node, problem, *choice, product);
    }
  }
  PARE_RETURN_IF_ERROR(emit_dense(lowering, *group, product));
  return lower_apart(lowering, node);
}

}  // namespace pare
