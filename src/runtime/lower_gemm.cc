// Lowering of dense layers (Gemm, MatMul and MatMulInteger with constant weights) and of products
// of two activations.
#include <fmt/format.h>

#include <functional>
#include <memory>
#include <utility>

#include "base/cache_line.h"
#include "base/numerals.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/gemm.h"
#include "kernels/isa.h"
#include "runtime/lower.h"
#include "runtime/product.h"
#include "runtime/views.h"

namespace pare {
namespace {

// The source as rows of k elements: [rows, k] with unit steps along k. nullopt when its strides do
// not allow it without a copy.
std::optional<View> as_rows(const View& view, int64_t k) {
  auto rows = reshaped_view(view, {k == 0 ? 0 : view.size() / k, k});
  if (!rows || (k > 1 && rows->strides[1] != 1)) return std::nullopt;
  if (rows->shape[0] == 1) rows->strides[0] = k;
  return rows;
}

Result<View> rows_of(Lowering& lowering, const View& view, int64_t k, const std::string& why) {
  if (auto rows = as_rows(view, k); rows && rows->strides[0] >= k) return *rows;
  PARE_ASSIGN_OR_RETURN(const View copy, lowering.dense(view, why));
  return *as_rows(copy, k);
}

// Weights of a dense layer, times Gemm's alpha.
Result<Tensor> scaled(const Tensor& tensor, float alpha) {
  if (alpha == 1.0F) return tensor;
  Tensor out(DType::kFloat32, tensor.shape());
  const std::vector<float> values = to_float_vector(tensor);
  auto dst = out.mutable_values<float>();
  for (size_t i = 0; i < values.size(); ++i) dst[i] = values[i] * alpha;
  return out;
}

bool is_gemm(const Node& node) { return node.op == "Gemm"; }

// A dense layer's weights: where its packed forms are kept, and how they are made.
struct DenseWeights {
  std::function<std::string(const GemmKernel&)> key;
  WeightStore::Make load;
  bool k_major = false;  // GemmWeights' for what `load` gives
};

// The weights out of the form in which they were packed for another number of rows, if that can be
// undone: [K,N].
Result<Tensor> unpacked(const Lowering& lowering, const GemmProblem& p,
                        const DenseWeights& weights) {
  for (const GemmKernel* kernel : gemm_kernels()) {
    const Tensor* packed =
        kernel->unpack == nullptr ? nullptr : lowering.packed_weights(weights.key(*kernel));
    if (packed == nullptr) continue;
    Tensor dense(p.weights_type, {p.k, p.n});
    kernel->unpack({p.n, p.k, p.weights_type}, packed->data(), dense.mutable_data());
    return dense;
  }
  return internal_error("the weights were released");
}

struct PackedLayer {
  Choice<GemmKernel> choice;
  Tensor packed;
};

// The kernel for a problem and its weights. The graph's own are released once they are packed: from
// then on a plan for another number of rows shares the packed form, makes its own out of one that
// can be unpacked, or, where only panels are left, takes the kernel that reads those.
Result<PackedLayer> choose_and_pack(Lowering& lowering, const std::string& name,
                                    GemmProblem problem, const DenseWeights& weights) {
  PackedLayer layer;
  PARE_ASSIGN_OR_RETURN(layer.choice,
                        choose_tuned(lowering, name, [&problem](const KernelRequest& request) {
                          return choose_gemm(problem, request);
                        }));
  if (const Tensor* there = lowering.packed_weights(weights.key(*layer.choice.kernel))) {
    layer.packed = *there;
    return layer;
  }
  Result<Tensor> dense = weights.load();
  bool k_major = weights.k_major;
  if (!dense.ok()) {
    k_major = true;
    if (auto again = unpacked(lowering, problem, weights); again.ok()) dense = std::move(again);
  }
  if (!dense.ok()) {
    problem.sparse_src = false;
    PARE_ASSIGN_OR_RETURN(layer.choice, choose_gemm(problem, lowering.kernels()));
    layer.choice.reason += "; its weights were packed first for a batch of many images";
  }
  const GemmKernel& kernel = *layer.choice.kernel;
  PARE_ASSIGN_OR_RETURN(
      layer.packed, lowering.weights().get(weights.key(kernel), [&]() -> Result<Tensor> {
        if (!dense.ok()) return dense.status();
        const GemmWeights from{problem.n, problem.k, dense->type(), dense->data(), k_major};
        Tensor out(DType::kUInt8, {gemm_packed_bytes(kernel, from)});
        gemm_pack(kernel, from, out.mutable_data());
        return out;
      }));
  return layer;
}

}  // namespace

Result<DenseLayer> prepare_dense(Lowering& lowering, const ProductGroup& group) {
  const Node& node = lowering.graph().nodes[static_cast<size_t>(group.anchor)];
  const std::string where = fmt::format("node '{}' ({})", node.name, node.op);
  const Shape& weights_shape = lowering.info(group.weights).shape;
  const bool transposed = is_gemm(node) && node.int_attribute("transB", 0) != 0;
  const float alpha = is_gemm(node) ? node.float_attribute("alpha", 1.0F) : 1.0F;
  const bool integer = group.source_quantisation || !group.dynamic_scale.empty();

  PARE_ASSIGN_OR_RETURN(View in, lowering.value(group.source));
  if (is_gemm(node) && node.int_attribute("transA", 0) != 0) in = permuted(in, {1, 0});
  GemmProblem problem;
  problem.n = weights_shape[transposed ? 0 : 1];
  problem.k = weights_shape[transposed ? 1 : 0];
  PARE_ASSIGN_OR_RETURN(const View src, rows_of(lowering, in, problem.k, node.name));
  problem.m = src.shape[0];
  problem.src_type = src.type;
  problem.weights_type =
      integer ? DType::kInt8
              : (alpha == 1.0F ? lowering.stored_type(group.weights) : DType::kFloat32);
  problem.sparse_src = lowering.follows_relu(group.source);
  const auto load_weights = [&]() -> Result<Tensor> {
    if (integer) {
      const Tensor& tensor = *lowering.constant(group.weights);
      if (tensor.empty()) return internal_error(where + ": the weights were released");
      return tensor;
    }
    PARE_ASSIGN_OR_RETURN(const Tensor tensor, lowering.stored_constant(group.weights));
    if (tensor.empty()) return internal_error(where + ": the weights are not constant");
    return scaled(tensor, alpha);
  };
  const auto described = [&](const Tensor& tensor) {
    return GemmWeights{problem.n, problem.k, tensor.type(), tensor.data(), !transposed};
  };
  const ProductWeights weights{
      .layer = node.name, .channels = problem.n, .sums = [&]() -> Result<std::vector<int32_t>> {
        PARE_ASSIGN_OR_RETURN(const Tensor tensor, load_weights());
        std::vector<int32_t> sums(static_cast<size_t>(problem.n));
        gemm_column_sums(described(tensor), sums.data());
        return sums;
      }};
  const Shape& out_shape = lowering.info(group.output).shape;
  PARE_ASSIGN_OR_RETURN(const EpiloguePlan epilogue,
                        EpiloguePlan::create(lowering, group, weights, out_shape,
                                             plain_order(static_cast<int>(out_shape.size()))));
  problem.dst_type = epilogue.dst_type();
  problem.activation = epilogue.activation();
  problem.residual = epilogue.has_residual();
  PARE_ASSIGN_OR_RETURN(problem.weight_density,
                        weight_density(lowering, group.weights, load_weights));
  // Alpha is in the key: two Gemms may share a tensor.
  const auto key = [&](const GemmKernel& kernel) {
    return fmt::format("{}|{}|{}|{}|{}", group.weights, kernel.packing,
                       dtype_name(problem.weights_type), transposed, alpha);
  };
  auto packed = choose_and_pack(lowering, node.name, problem, {key, load_weights, !transposed});
  if (!packed.ok()) return packed.status().with_context(where);
  // Where there is AVX512_BF16 two packings of bfloat16 weights are in use, and the batch decides
  // which (what slices hand to the head is float32): the graph's own stay for the other.
  const bool either = problem.weights_type == DType::kBFloat16 &&
                      (isa_bits(lowering.kernels().cpu) & kIsaAvx512Bf16) != 0;
  if (!either) lowering.mark_packed(group.weights);
  LayerPlan plan = describe(node, packed->choice.kernel->name, packed->choice.reason);
  plan.operation =
      fmt::format("{} {} -> {}", group_operation(lowering, group), problem.k, problem.n);
  plan.macs = saturating_product({problem.m, problem.n, problem.k}) / lowering.options().batch;
  plan.weight_bytes = packed->packed.byte_count();
  plan.weight_density = problem.weight_density;
  describe_work(plan, problem.weights_type, saturating_product({problem.n, problem.k}));
  plan.kernels = able_kernels(gemm_kernels(), problem, lowering.kernels());
  if (packed->choice.kernel->packing == std::string_view("columns")) {
    plan.skips_zeros_of = group.source;
  }
  const View weights_view = lowering.stored_view(packed->packed);
  return DenseLayer{problem,        std::move(packed->choice), src, weights_view, epilogue,
                    std::move(plan)};
}

namespace {

// A dense layer with its result's place, ready to run any of its rows.
struct DenseRun {
  GemmProblem problem;
  const GemmKernel* kernel;
  View src;
  View weights;
  View dst;
  EpiloguePlan epilogue;

  // Constants of the epilogue, then the kernel's own.
  int64_t scratch_bytes(int64_t rows, int threads) const {
    GemmProblem p = problem;
    p.m = rows;
    return round_up_64(epilogue.scratch_bytes()) +
           round_up_64(gemm_scratch_bytes(*kernel, p, threads));
  }

  void run(const StepContext& c, int64_t first, int64_t count) const {
    GemmProblem p = problem;
    p.m = count;
    GemmArgs args;
    args.src = c.data(src, first * src.strides[0]);
    args.src_stride = src.strides[0];
    args.packed = c.data(weights);
    args.dst = c.data(dst, first * p.n);
    args.dst_stride = p.n;
    args.src_zero_point = epilogue.source_zero_point(c);
    args.epilogue = epilogue.resolve(c, c.scratch().data(), p.n);
    if (args.epilogue.residual != nullptr) args.epilogue.residual += first * p.n;
    args.scratch = c.scratch().subspan(static_cast<size_t>(round_up_64(epilogue.scratch_bytes())));
    gemm_run(*kernel, p, args, c.pool());
  }
};

}  // namespace

Status emit_dense(Lowering& lowering, const ProductGroup& group, const DenseLayer& layer) {
  const View dst = lowering.allocate(layer.problem.dst_type, lowering.info(group.output).shape);
  const auto work = std::make_shared<const DenseRun>(
      DenseRun{layer.problem, layer.choice.kernel, layer.src, layer.weights, dst, layer.epilogue});
  const int64_t rows = layer.problem.m;
  Step step;
  step.layer = layer.plan;
  step.reads = {layer.src.buffer, layer.weights.buffer};
  layer.epilogue.add_reads(step.reads);
  step.writes = {dst.buffer};
  step.scratch_bytes = work->scratch_bytes(rows, lowering.options().threads);
  step.run_by_rows({rows, [work](int64_t count) { return work->scratch_bytes(count, 1); },
                    [work](const StepContext& c, int64_t first, int64_t count) {
                      work->run(c, first, count);
                      return ok_status();
                    }});
  lowering.emit(std::move(step));
  lowering.bind(group.output, dst);
  return ok_status();
}

Status lower_gemm(Lowering& lowering, const ProductGroup& group) {
  PARE_ASSIGN_OR_RETURN(const DenseLayer layer, prepare_dense(lowering, group));
  return emit_dense(lowering, group, layer);
}

namespace {

// A matrix operand of a product of two activations: [batch..., rows, cols] in float32, with unit
// steps along the columns (or along the rows, for a transposed one).
Result<View> matrix_operand(Lowering& lowering, const View& in, bool may_transpose,
                            const std::string& why) {
  PARE_ASSIGN_OR_RETURN(View view, lowering.converted(in, DType::kFloat32, why));
  const size_t r = view.shape.size();
  const auto rows_apart = [&](size_t inner, size_t outer) {
    return (view.shape[inner] <= 1 || view.strides[inner] == 1) &&
           view.strides[outer] >= view.shape[inner];
  };
  if (rows_apart(r - 1, r - 2) || (may_transpose && rows_apart(r - 2, r - 1))) return view;
  return lowering.dense(view, why);
}

// C of a Gemm whose weights vary: alpha * product + beta * C as an elementwise step.
Status add_gemm_terms(Lowering& lowering, const Node& node, const View& product,
                      const std::string& output) {
  const float alpha = node.float_attribute("alpha", 1.0F);
  ElementwiseProblem problem;
  problem.shape = product.shape;
  problem.operands = {{.strides = product.strides}};
  std::vector<View> views = {product};
  const auto add = [&](LoopOp op, const View& view) {
    problem.program.push_back({.op = op, .operand = static_cast<int>(problem.operands.size())});
    problem.operands.push_back(
        {.type = view.type, .strides = broadcast_strides(view, product.shape)});
    views.push_back(view);
  };
  add(LoopOp::kMul, lowering.constant_view(Tensor::scalar<float>(alpha)));
  if (node.has_input(2)) {
    PARE_ASSIGN_OR_RETURN(View c, lowering.value(node.inputs[2]));
    const float beta = node.float_attribute("beta", 1.0F);
    if (beta != 1.0F) {
      ElementwiseProblem scale;
      scale.shape = c.shape;
      scale.operands = {{.type = c.type, .strides = c.strides},
                        {.strides = Shape(c.shape.size(), 0)}};
      scale.program = {{.op = LoopOp::kMul, .operand = 1}};
      const View scaled_c = lowering.allocate(DType::kFloat32, c.shape);
      scale.dst.strides = scaled_c.strides;
      PARE_RETURN_IF_ERROR(lowering.emit_program(
          node, std::move(scale), {c, lowering.constant_view(Tensor::scalar<float>(beta))},
          scaled_c));
      c = scaled_c;
    }
    add(LoopOp::kAdd, c);
  }
  const View dst = lowering.allocate(lowering.info(output).type, product.shape);
  problem.dst = {.type = dst.type, .strides = dst.strides};
  lowering.bind(output, dst);
  return lowering.emit_program(node, std::move(problem), std::move(views), dst);
}

}  // namespace

Status lower_matmul(Lowering& lowering, const ProductGroup& group) {
  const Node& node = lowering.graph().nodes[static_cast<size_t>(group.anchor)];
  PARE_ASSIGN_OR_RETURN(View a, lowering.value(group.source));
  PARE_ASSIGN_OR_RETURN(View b, lowering.value(group.weights));
  if (is_gemm(node) && node.int_attribute("transA", 0) != 0) a = permuted(a, {1, 0});
  if (is_gemm(node) && node.int_attribute("transB", 0) != 0) b = permuted(b, {1, 0});
  if (a.shape.size() == 1) a = *reshaped_view(a, {1, a.shape[0]});
  if (b.shape.size() == 1) b = *reshaped_view(b, {b.shape[0], 1});
  PARE_ASSIGN_OR_RETURN(a, matrix_operand(lowering, a, false, node.name));
  PARE_ASSIGN_OR_RETURN(b, matrix_operand(lowering, b, true, node.name));
  const size_t ra = a.shape.size();
  const size_t rb = b.shape.size();
  MatMulProblem problem;
  problem.m = a.shape[ra - 2];
  problem.k = a.shape[ra - 1];
  problem.n = b.shape[rb - 1];
  problem.transpose_b = b.strides[rb - 1] != 1 && problem.n > 1;
  const ValueInfo& out = lowering.info(node.outputs[0]);
  const Shape batch = matrix_batch(a, b);
  problem.batch = element_count(batch);
  PARE_ASSIGN_OR_RETURN(const auto choice, choose_matmul(problem, lowering.kernels()));
  const MatMulKernel* kernel = choice.kernel;
  View dst = lowering.allocate(DType::kFloat32, out.shape);
  Step step;
  step.layer = describe(node, kernel->name, choice.reason);
  step.layer.macs = saturating_product({problem.batch, problem.m, problem.n, problem.k}) /
                    lowering.options().batch;
  step.reads = {a.buffer, b.buffer};
  step.writes = {dst.buffer};
  step.scratch_bytes = matmul_scratch_bytes(*kernel, problem, lowering.options().threads);
  const int64_t a_stride = a.strides[ra - 2];
  const int64_t b_stride = b.strides[problem.transpose_b ? rb - 1 : rb - 2];
  step.run = [=, a_offsets = matrix_offsets(a, batch),
              b_offsets = matrix_offsets(b, batch)](const StepContext& c) {
    MatMulArgs args;
    args.a = c.data<float>(a);
    args.b = c.data<float>(b);
    args.dst = c.data<float>(dst);
    args.a_stride = a_stride;
    args.b_stride = b_stride;
    args.a_offsets = a_offsets;
    args.b_offsets = b_offsets;
    args.scratch = c.scratch();
    matmul_run(*kernel, problem, args, c.pool());
    return ok_status();
  };
  lowering.emit(std::move(step));
  if (is_gemm(node)) return add_gemm_terms(lowering, node, dst, node.outputs[0]);
  PARE_ASSIGN_OR_RETURN(dst, lowering.converted(dst, out.type, node.name));
  lowering.bind(node.outputs[0], dst);
  return ok_status();
}

}  // namespace pare
