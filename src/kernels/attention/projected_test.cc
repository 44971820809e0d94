// Every variant of projected.h: the bits of the product followed by the attention, each by the
// variant of the same instruction set, which their own tests hold against their references; and the
// composition itself near the reference of both.
#include "kernels/attention/projected.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string_view>

#include "base/cache_line.h"
#include "base/cpu_features.h"
#include "testing/compare.h"
#include "testing/operands.h"

namespace pare {
namespace {

using namespace testing_compare;
using namespace testing_operands;

struct Case {
  ProjectedProblem p;
  GuardedBuffer x{0}, weights{0};
  std::vector<float> bias, multiplier;
  std::vector<int32_t> int_bias;

  bool integer() const { return p.product.weights_type == DType::kInt8; }
  int64_t row() const { return p.attention.heads * p.attention.v_dim; }  // of the result

  GemmArgs product_args(GuardedBuffer& packed) {
    GemmArgs args;
    args.src = x.data();
    args.src_stride = p.product.k;
    args.packed = packed.data();
    args.epilogue.bias = bias.data();
    if (integer()) {
      args.epilogue.int_bias = int_bias.data();
      args.epilogue.multiplier = multiplier.data();
    }
    return args;
  }
  GuardedBuffer pack(const GemmKernel& kernel) {
    const GemmWeights w{p.product.n, p.product.k, p.product.weights_type, weights.data()};
    GuardedBuffer packed(round_up_64(gemm_packed_bytes(kernel, w)));
    gemm_pack(kernel, w, packed.data());
    return packed;
  }
};

Case make_case(const AttentionProblem& a, int64_t k, DType weights_type) {
  Rng rng(47, RngPurpose::kTest, static_cast<uint64_t>(a.q_tokens * 1000 + k));
  Case c;
  c.p.attention = a;
  GemmProblem& g = c.p.product;
  g.m = a.batch * a.q_tokens;
  g.n = a.heads * (2 * a.qk_dim + a.v_dim);
  g.k = k;
  g.weights_type = weights_type;
  g.src_type = c.integer() ? DType::kUInt8 : DType::kFloat32;
  c.x = random_operand(rng, g.src_type, g.m * k);
  c.weights = random_operand(rng, weights_type, g.n * k);
  c.bias = random_floats(rng, g.n, -1.0F, 1.0F);
  c.multiplier = random_floats(rng, g.n, 1e-5F, 2e-5F);
  for (int64_t n = 0; n < g.n; ++n) c.int_bias.push_back(static_cast<int32_t>(n * 37 - 500));
  return c;
}

std::vector<float> run_projected(const ProjectedKernel& kernel, Case& c, GuardedBuffer& packed,
                                 int threads) {
  const AttentionProblem& a = c.p.attention;
  GuardedBuffer dst(a.batch * a.q_tokens * c.row() * dtype_bytes(a.dst_type));
  GuardedBuffer scratch(round_up_64(projected_scratch_bytes(kernel, c.p, threads)));
  ProjectedArgs args;
  args.product = c.product_args(packed);
  args.dst = dst.data();
  args.dst_strides = {a.q_tokens * c.row(), c.row(), a.v_dim};
  args.out_scale = 0.01F;
  args.out_zero_point = 128;
  args.scratch = scratch.bytes();
  ThreadPool pool(threads);
  projected_run(kernel, c.p, args, pool);
  EXPECT_TRUE(dst.intact() && scratch.intact());
  return as_floats(a.dst_type, dst);
}

// gemm_run(), then attention_run().
std::vector<float> run_apart(const GemmKernel& gemm, const AttentionKernel& attention, Case& c,
                             GuardedBuffer& packed) {
  const AttentionProblem& a = c.p.attention;
  const int64_t n = c.p.product.n;
  ThreadPool pool(1);
  GuardedBuffer parts(c.p.product.m * n * 4);
  GuardedBuffer scratch(round_up_64(gemm_scratch_bytes(gemm, c.p.product, 1) +
                                    attention_scratch_bytes(attention, a, 1)));
  GemmArgs product = c.product_args(packed);
  product.dst = parts.data();
  product.dst_stride = n;
  product.scratch = scratch.bytes();
  gemm_run(gemm, c.p.product, product, pool);
  GuardedBuffer dst(a.batch * a.q_tokens * c.row() * dtype_bytes(a.dst_type));
  AttentionArgs args;
  args.q = parts.as<float>();
  args.k = args.q + a.heads * a.qk_dim;
  args.v = args.k + a.heads * a.qk_dim;
  args.dst = dst.data();
  args.q_strides = args.k_strides = {a.q_tokens * n, n, a.qk_dim};
  args.v_strides = {a.q_tokens * n, n, a.v_dim};
  args.dst_strides = {a.q_tokens * c.row(), c.row(), a.v_dim};
  args.out_scale = 0.01F;
  args.out_zero_point = 128;
  args.scratch = scratch.bytes();
  attention_run(attention, a, args, pool);
  return as_floats(a.dst_type, dst);
}

// The fastest kernel for each part with the instruction sets of `needs` and the weights' packing.
struct Apart {
  const GemmKernel* gemm = nullptr;
  const AttentionKernel* attention = nullptr;
};

Apart apart_for(const ProjectedKernel& kernel, const Case& c) {
  // The baseline's fastest are the references on x86-64 and NEON's on ARM; the reference is held
  // against references on both.
  if (&kernel == projected_kernels().back()) {
    return {gemm_kernels().back(), attention_kernels().back()};
  }
  Apart apart;
  for (const AttentionKernel* a : attention_kernels()) {
    if (apart.attention == nullptr && (a->needs & ~kernel.needs) == 0) apart.attention = a;
  }
  for (const GemmKernel* g : gemm_kernels()) {
    ProjectedProblem p = c.p;
    p.packing = g->packing;
    const bool takes =
        (g->refuse == nullptr || g->refuse(p.product) == nullptr) && kernel.refuse(p) == nullptr;
    if (apart.gemm == nullptr && (g->needs & ~kernel.needs) == 0 && takes) apart.gemm = g;
  }
  return apart;
}

void check_case(Case c, VariantTally& tally) {
  const Apart references{gemm_kernels().back(), attention_kernels().back()};
  GuardedBuffer plain = c.pack(*references.gemm);
  const std::vector<float> want = run_apart(*references.gemm, *references.attention, c, plain);
  for (const ProjectedKernel* kernel : projected_kernels()) {
    const Apart apart = apart_for(*kernel, c);
    if (apart.gemm == nullptr) continue;  // weights of another type, heads that are no panels
    c.p.packing = apart.gemm->packing;
    const auto choice = choose_projected(c.p, {detect_cpu().features, kernel->name, false});
    if (!choice.ok()) {
      tally.skipped(kernel->name, choice.status().message());
      continue;
    }
    SCOPED_TRACE(std::string(kernel->name) + ": " + std::to_string(c.p.attention.q_tokens) +
                 " tokens of " + std::to_string(c.p.product.k) + " to " +
                 dtype_name(c.p.attention.dst_type));
    GuardedBuffer packed = c.pack(*apart.gemm);
    const std::vector<float> got = run_projected(*kernel, c, packed, 1);
    tally.ran(kernel->name);
    EXPECT_TRUE(all_equal<float>(got, run_apart(*apart.gemm, *apart.attention, c, packed)));
    EXPECT_TRUE(all_equal<float>(run_projected(*kernel, c, packed, 3), got))
        << "threads change the result";
    // Scores move by the error of q and k times the other, values of a few units; so do weights.
    Tolerance t = product_tolerance(c.p.product.k + c.p.attention.q_tokens, 4.0, 4.0,
                                    c.p.attention.dst_type, 8.0);
    if (c.p.attention.dst_type == DType::kUInt8) t = {1.0, 0.0};
    EXPECT_TRUE(all_close(got, want, t));
  }
}

TEST(ProjectedAttention, HasTheBitsOfItsParts) {
  VariantTally tally("projected attention");
  const auto check = [&](int64_t batch, int64_t heads, int64_t tokens, int64_t k, int64_t qk,
                         int64_t v) {
    const float scale = 1.0F / static_cast<float>(qk + k);
    for (DType weights : {DType::kFloat32, DType::kBFloat16, DType::kFloat16, DType::kInt8}) {
      for (DType dst : {DType::kFloat32, DType::kUInt8}) {
        check_case(make_case({batch, heads, tokens, tokens, qk, v, scale, dst}, k, weights), tally);
      }
    }
  };
#define PARE_PROJECTED_CASE(batch, heads, tokens, k, d, v) check(batch, heads, tokens, k, d, v);
#include "kernels/attention/projected_cases.inc"
#undef PARE_PROJECTED_CASE
}

TEST(ProjectedAttention, RefusesHeadsThatAreNoPanels) {
  ProjectedProblem p;
  p.attention = {1, 2, 3, 3, 24, 16};
  p.product.m = 3;
  p.product.n = 2 * (24 * 2 + 16);
  p.product.k = 8;
  p.packing = "panels16";
  const auto choice = choose_projected(p, {detect_cpu().features, "", false});
  ASSERT_FALSE(choice.ok());
  p.product.n += 1;
  EXPECT_EQ(choose_projected(p, {}).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace pare
