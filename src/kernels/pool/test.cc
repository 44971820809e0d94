// Every variant of pool.h against the reference: maxima and integer means equal, float means within
// the rounding of a sum.
#include <gtest/gtest.h>

#include "base/cpu_features.h"
#include "kernels/conv/conv.h"
#include "kernels/pool/pool.h"
#include "testing/compare.h"
#include "testing/operands.h"

namespace pare {
namespace {

using namespace testing_compare;
using namespace testing_operands;

std::vector<float> run_kernel(const PoolKernel& kernel, const PoolProblem& p, GuardedBuffer& src,
                              int threads) {
  GuardedBuffer dst(p.batch * p.out_h * p.out_w * p.channels * dtype_bytes(p.dst_type));
  ThreadPool pool(threads);
  pool_run(kernel, p, {src.data(), dst.data(), 0.02F, 7, 0.03F, 11}, pool);
  EXPECT_TRUE(dst.intact());
  return as_floats(p.dst_type, dst);
}

void check_case(const PoolProblem& p, VariantTally& tally) {
  Rng rng(44, RngPurpose::kTest, static_cast<uint64_t>(p.channels));
  GuardedBuffer src = random_operand(rng, p.src_type, p.batch * p.in_h * p.in_w * p.channels);
  const std::vector<float> want = run_kernel(*pool_kernels().back(), p, src, 1);
  const CpuFeatures cpu = detect_cpu().features;
  for (const PoolKernel* kernel : pool_kernels().first(pool_kernels().size() - 1)) {
    const auto choice = choose_pool(p, {cpu, kernel->name, false});
    if (!choice.ok()) {
      tally.skipped(kernel->name, choice.status().message());
      continue;
    }
    SCOPED_TRACE(std::string(kernel->name) + (p.kind == PoolKind::kMax ? " max " : " average ") +
                 dtype_name(p.src_type) + " " + std::to_string(p.in_h) + "x" +
                 std::to_string(p.in_w) + "x" + std::to_string(p.channels));
    const std::vector<float> got = run_kernel(*kernel, p, src, 1);
    tally.ran(kernel->name);
    EXPECT_TRUE(all_equal<float>(run_kernel(*kernel, p, src, 3), got));
    if (p.kind == PoolKind::kMax || p.src_type == DType::kUInt8) {
      EXPECT_TRUE(all_equal<float>(got, want));
    } else {
      const int64_t terms = p.kernel_h * p.kernel_w;
      EXPECT_TRUE(all_close(
          got, want,
          product_tolerance(terms, 1.0, 1.0 / static_cast<double>(terms), p.dst_type, 1.0)));
    }
  }
}

void check_kinds(PoolProblem p, int64_t extra, VariantTally& tally) {
  p.out_h =
      extra + conv_out_size(p.in_h, p.pad_top + p.pad_bottom, p.kernel_h, p.stride_h, p.dilation_h);
  p.out_w =
      extra + conv_out_size(p.in_w, p.pad_left + p.pad_right, p.kernel_w, p.stride_w, p.dilation_w);
  for (PoolKind kind : {PoolKind::kMax, PoolKind::kAverage}) {
    for (DType type : {DType::kFloat32, DType::kBFloat16, DType::kFloat16, DType::kUInt8}) {
      p.kind = kind;
      p.src_type = p.dst_type = type;
      p.count_include_pad = false;
      check_case(p, tally);
      p.count_include_pad = true;
      check_case(p, tally);
    }
  }
  p.src_type = DType::kUInt8;
  p.dst_type = DType::kFloat32;
  check_case(p, tally);
}

TEST(Pool, VariantsAgreeWithTheReference) {
  VariantTally tally("pool");
#define PARE_POOL_CASE(b, h, w, c, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr, extra)                \
  check_kinds({PoolKind::kMax, b, h, w, c, 0, 0, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr}, extra, \
              tally);
#include "kernels/pool/cases.inc"
#undef PARE_POOL_CASE
}

TEST(Pool, HandComputed) {
  // 2x2 windows with one column of padding on the left over [1 2 3; 4 5 6].
  const float src[] = {1, 2, 3, 4, 5, 6};
  PoolProblem p;
  p.in_h = 2;
  p.in_w = 3;
  p.channels = 1;
  p.kernel_h = p.kernel_w = p.stride_h = p.stride_w = 2;
  p.pad_left = 1;
  p.out_h = 1;
  p.out_w = 2;
  ThreadPool pool(1);
  const CpuFeatures cpu = detect_cpu().features;
  for (const PoolKernel* kernel : pool_kernels()) {
    if (!choose_pool(p, {cpu, kernel->name, false}).ok()) continue;
    float dst[2];
    p.kind = PoolKind::kMax;
    pool_run(*kernel, p, {src, dst}, pool);
    EXPECT_EQ(dst[0], 4.0F);
    EXPECT_EQ(dst[1], 6.0F);
    p.kind = PoolKind::kAverage;
    p.count_include_pad = false;
    pool_run(*kernel, p, {src, dst}, pool);
    EXPECT_EQ(dst[0], 2.5F);
    EXPECT_EQ(dst[1], 4.0F);
    p.count_include_pad = true;
    pool_run(*kernel, p, {src, dst}, pool);
    EXPECT_EQ(dst[0], 1.25F);
  }
}

TEST(Pool, RefusesTypesAndSizes) {
  PoolProblem p;
  p.src_type = DType::kUInt8;
  EXPECT_EQ(choose_pool(p, {}).status().code(), StatusCode::kUnsupported);
  p.src_type = DType::kFloat32;
  p.stride_h = 0;
  EXPECT_EQ(choose_pool(p, {}).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace pare
