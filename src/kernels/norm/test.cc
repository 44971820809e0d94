// Every variant of norm.h against the reference.
//
// A layer norm's result is of size one and errs by a few units in the last place, plus what the
// sums of a row of numbers below one in size err by; a softmax likewise, relative to its result.
#include <gtest/gtest.h>

#include <limits>
#include <optional>

#include "base/cpu_features.h"
#include "kernels/norm/norm.h"
#include "testing/compare.h"
#include "testing/operands.h"

namespace pare {
namespace {

using namespace testing_compare;
using namespace testing_operands;

struct Operands {
  GuardedBuffer src{0}, gamma{0}, beta{0};
};

std::vector<float> run_kernel(const NormKernel& kernel, const NormProblem& p, Operands& o,
                              int threads) {
  GuardedBuffer dst(p.rows * p.cols * dtype_bytes(p.dst_type));
  NormArgs args{o.src.data(), o.gamma.as<float>(), o.beta.as<float>(), dst.data(), 0.02F, 100};
  ThreadPool pool(threads);
  norm_run(kernel, p, args, pool);
  EXPECT_TRUE(dst.intact());
  return as_floats(p.dst_type, dst);
}

Tolerance tolerance_of(const NormProblem& p) {
  if (p.dst_type == DType::kUInt8) return {1.0, 0.0};
  // The row's spread is about 0.6 and its sums err by eps per element at most.
  const double sums = 8.0 + static_cast<double>(p.cols) / 16.0;
  return elementwise_tolerance(p.kind == NormKind::kSoftmax ? 8.0 : sums,
                               p.kind == NormKind::kLogSoftmax ? 8.0 : 4.0, p.dst_type);
}

void check_case(const NormProblem& p, VariantTally& tally) {
  Rng rng(45, RngPurpose::kTest, static_cast<uint64_t>(p.cols));
  Operands o;
  o.src = random_operand(rng, p.src_type, p.rows * p.cols);
  o.gamma = GuardedBuffer::of(random_floats(rng, p.cols, -1.0F, 1.0F));
  o.beta = GuardedBuffer::of(random_floats(rng, p.cols, -1.0F, 1.0F));
  const std::vector<float> want = run_kernel(*norm_kernels().back(), p, o, 1);
  const CpuFeatures cpu = detect_cpu().features;
  std::optional<std::vector<float>> first;
  for (const NormKernel* kernel : norm_kernels().first(norm_kernels().size() - 1)) {
    const auto choice = choose_norm(p, {cpu, kernel->name, false});
    if (!choice.ok()) {
      tally.skipped(kernel->name, choice.status().message());
      continue;
    }
    SCOPED_TRACE(std::string(kernel->name) + " kind " + std::to_string(static_cast<int>(p.kind)) +
                 " " + std::to_string(p.rows) + "x" + std::to_string(p.cols) + " " +
                 dtype_name(p.src_type) + " to " + dtype_name(p.dst_type));
    const std::vector<float> got = run_kernel(*kernel, p, o, 1);
    tally.ran(kernel->name);
    EXPECT_TRUE(all_close(got, want, tolerance_of(p)));
    EXPECT_TRUE(all_equal<float>(run_kernel(*kernel, p, o, 3), got)) << "threads change the result";
    if (!first) first = got;
    EXPECT_TRUE(all_equal<float>(got, *first)) << "variants differ";
  }
}

TEST(Norm, VariantsAgreeWithTheReference) {
  VariantTally tally("norm");
  const auto check = [&](int64_t rows, int64_t cols) {
    for (NormKind kind : {NormKind::kLayerNorm, NormKind::kSoftmax, NormKind::kLogSoftmax}) {
      NormProblem p{kind, rows, cols, 1e-6F};
      check_case(p, tally);
      p.src_type = p.dst_type = DType::kBFloat16;
      check_case(p, tally);
      p.src_type = p.dst_type = DType::kFloat16;
      check_case(p, tally);
      if (kind != NormKind::kLayerNorm) continue;
      p.src_type = DType::kFloat32;
      p.dst_type = DType::kUInt8;
      check_case(p, tally);
    }
  };
#define PARE_NORM_CASE(rows, cols) check(rows, cols);
#include "kernels/norm/cases.inc"
#undef PARE_NORM_CASE
}

TEST(Norm, LargeMeansDoNotCancel) {
  // One pass (E[x^2] - E[x]^2) would lose everything here: mean 10000, spread 1.
  std::vector<float> src(64);
  for (size_t i = 0; i < src.size(); ++i) src[i] = i % 2 == 0 ? 9999.0F : 10001.0F;
  NormProblem p{NormKind::kLayerNorm, 1, 64, 0.0F};
  ThreadPool pool(1);
  const auto choice = choose_norm(p, {detect_cpu().features, "", false});
  ASSERT_TRUE(choice.ok());
  std::vector<float> dst(64);
  norm_run(*choice->kernel, p, {src.data(), nullptr, nullptr, dst.data()}, pool);
  for (size_t i = 0; i < dst.size(); ++i) EXPECT_EQ(dst[i], i % 2 == 0 ? -1.0F : 1.0F);
}

TEST(Norm, SoftmaxOfFarApartNumbersInPlace) {
  const float infinity = std::numeric_limits<float>::infinity();
  NormProblem p{NormKind::kSoftmax, 1, 4};
  ThreadPool pool(1);
  const CpuFeatures cpu = detect_cpu().features;
  for (const NormKernel* kernel : norm_kernels()) {
    if (!choose_norm(p, {cpu, kernel->name, false}).ok()) continue;
    float row[] = {1000.0F, 1000.0F, -infinity, 0.0F};
    norm_run(*kernel, p, {row, nullptr, nullptr, row}, pool);
    EXPECT_EQ(row[0], 0.5F);
    EXPECT_EQ(row[1], 0.5F);
    EXPECT_EQ(row[2], 0.0F);
    EXPECT_EQ(row[3], 0.0F);
  }
}

}  // namespace
}  // namespace pare
