// Every variant of attention.h against the reference.
//
// Scores are sums of d products of numbers below one, so they err by what product_tolerance says;
// the weights err relatively by as much (the softmax's slope), and the result is their mean of
// values below one.
#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "base/cpu_features.h"
#include "kernels/attention/attention.h"
#include "testing/compare.h"
#include "testing/operands.h"

namespace pare {
namespace {

using namespace testing_compare;
using namespace testing_operands;

// q, k and v lie side by side in each token, as a fused QKV product leaves them.
struct Case {
  AttentionProblem p;
  GuardedBuffer q{0}, kv{0};
};

std::vector<float> run_kernel(const AttentionKernel& kernel, Case& c, int threads) {
  const AttentionProblem& p = c.p;
  GuardedBuffer dst(p.batch * p.q_tokens * p.heads * p.v_dim * dtype_bytes(p.dst_type));
  GuardedBuffer scratch((attention_scratch_bytes(kernel, p, threads) + 63) / 64 * 64);
  AttentionArgs args;
  args.q = c.q.as<float>();
  args.k = c.kv.as<float>();
  args.v = c.kv.as<float>() + p.heads * p.qk_dim;
  args.dst = dst.data();
  args.q_strides = {p.q_tokens * p.heads * p.qk_dim, p.heads * p.qk_dim, p.qk_dim};
  const int64_t token = p.heads * (p.qk_dim + p.v_dim);
  args.k_strides = {p.kv_tokens * token, token, p.qk_dim};
  args.v_strides = {p.kv_tokens * token, token, p.v_dim};
  args.dst_strides = {p.q_tokens * p.heads * p.v_dim, p.heads * p.v_dim, p.v_dim};
  args.out_scale = 0.01F;
  args.out_zero_point = 128;
  args.scratch = scratch.bytes();
  ThreadPool pool(threads);
  attention_run(kernel, p, args, pool);
  EXPECT_TRUE(dst.intact() && scratch.intact());
  return as_floats(p.dst_type, dst);
}

void check_case(const AttentionProblem& problem, VariantTally& tally) {
  Rng rng(46, RngPurpose::kTest, static_cast<uint64_t>(problem.kv_tokens));
  Case c{problem};
  const AttentionProblem& p = c.p;
  c.q = random_operand(rng, DType::kFloat32, p.batch * p.q_tokens * p.heads * p.qk_dim);
  c.kv =
      random_operand(rng, DType::kFloat32, p.batch * p.kv_tokens * p.heads * (p.qk_dim + p.v_dim));
  const std::vector<float> want = run_kernel(*attention_kernels().back(), c, 1);
  const CpuFeatures cpu = detect_cpu().features;
  std::optional<std::vector<float>> first;
  for (const AttentionKernel* kernel : attention_kernels().first(attention_kernels().size() - 1)) {
    const auto choice = choose_attention(p, {cpu, kernel->name, false});
    if (!choice.ok()) {
      tally.skipped(kernel->name, choice.status().message());
      continue;
    }
    SCOPED_TRACE(std::string(kernel->name) + ": " + std::to_string(p.q_tokens) + " by " +
                 std::to_string(p.kv_tokens) + " tokens of " + std::to_string(p.qk_dim) + ", " +
                 std::to_string(p.v_dim) + " to " + dtype_name(p.dst_type));
    const std::vector<float> got = run_kernel(*kernel, c, 1);
    tally.ran(kernel->name);
    Tolerance t = product_tolerance(p.qk_dim + p.kv_tokens, 1.0, p.scale, p.dst_type, 8.0);
    if (p.dst_type == DType::kUInt8) t = {1.0, 0.0};
    EXPECT_TRUE(all_close(got, want, t));
    EXPECT_TRUE(all_equal<float>(run_kernel(*kernel, c, 3), got)) << "threads change the result";
    if (!first) first = got;
    EXPECT_TRUE(all_equal<float>(got, *first)) << "variants differ";
  }
}

TEST(Attention, VariantsAgreeWithTheReference) {
  VariantTally tally("attention");
  const auto check = [&](int64_t batch, int64_t heads, int64_t q, int64_t kv, int64_t d,
                         int64_t v) {
    const float scale = 1.0F / std::sqrt(static_cast<float>(d + 1));
    for (DType dst : {DType::kFloat32, DType::kBFloat16, DType::kUInt8}) {
      check_case({batch, heads, q, kv, d, v, scale, dst}, tally);
    }
  };
#define PARE_ATTENTION_CASE(batch, heads, q, kv, d, v) check(batch, heads, q, kv, d, v);
#include "kernels/attention/cases.inc"
#undef PARE_ATTENTION_CASE
}

TEST(Attention, APointedSoftmaxPicksOneValue) {
  // Keys are unit vectors; a query a thousand times the second one attends to it alone.
  const float q[] = {0.0F, 1000.0F};
  const float k[] = {1.0F, 0.0F, 0.0F, 1.0F};
  const float v[] = {3.0F, 4.0F, 5.0F, 6.0F};
  const AttentionProblem p{1, 1, 1, 2, 2, 2};
  const CpuFeatures cpu = detect_cpu().features;
  ThreadPool pool(1);
  for (const AttentionKernel* kernel : attention_kernels()) {
    if (!choose_attention(p, {cpu, kernel->name, false}).ok()) continue;
    float dst[2];
    GuardedBuffer scratch((attention_scratch_bytes(*kernel, p, 1) + 63) / 64 * 64);
    AttentionArgs args{q, k, v, dst, {2, 2, 2}, {4, 2, 2}, {4, 2, 2}, {2, 2, 2}};
    args.scratch = scratch.bytes();
    attention_run(*kernel, p, args, pool);
    EXPECT_EQ(dst[0], 5.0F);
    EXPECT_EQ(dst[1], 6.0F);
  }
}

TEST(Attention, NeedsAKey) {
  EXPECT_EQ(choose_attention({1, 1, 1, 0, 4, 4}, {}).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace pare
