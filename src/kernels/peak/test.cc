// A ceiling that a compiler had thought away would be infinitely high: each loop's sum shows that
// it did all its work, and that it cannot do it in no time.
#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <vector>

#include "kernels/peak/peak.h"

namespace pare {
namespace {

bool runs_here(const PeakKernel& kernel) {
  return (kernel.needs & ~isa_bits(detect_cpu().features)) == 0;
}

TEST(Peak, DoesAllItsWork) {
  int ran = 0;
  for (const PeakKernel* kernel : peak_kernels()) {
    if (!runs_here(*kernel)) {
      std::printf("skipped: %s needs %s\n", kernel->name, isa_string(kernel->needs).c_str());
      continue;
    }
    ++ran;
    constexpr int64_t kRounds = 1000;
    if (kernel->kind != PeakKind::kRead) {
      EXPECT_EQ(kernel->run(kRounds, nullptr), static_cast<double>(kRounds * kernel->unit))
          << kernel->name;
      continue;
    }
    // 0, 1, … 99, 0, 1, …: sums of floats are exact.
    std::vector<float> memory(static_cast<size_t>(kRounds * kernel->unit));
    for (size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<float>(i % 100);
    EXPECT_EQ(kernel->run(kRounds, memory.data()),
              std::accumulate(memory.begin(), memory.end(), 0.0))
        << kernel->name;
  }
  EXPECT_GE(ran, 3);  // the baseline's
}

TEST(Peak, TakesItsTime) {
  // No core of any processor has sixteen pipes of 64 bytes at 8 GHz.
  constexpr double kMostPerNanosecond = 16 * 64 * 8;
  for (const PeakKernel* kernel : peak_kernels()) {
    if (!runs_here(*kernel) || kernel->kind == PeakKind::kRead) continue;
    constexpr int64_t kRounds = 200'000;
    const auto begin = std::chrono::steady_clock::now();
    const double sum = kernel->run(kRounds, nullptr);
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(sum / took.count(), kMostPerNanosecond) << kernel->name;
  }
}

TEST(Peak, FindsTheFirstThatRuns) {
  if (!PARE_X86) GTEST_SKIP() << "names variants of x86-64";
  CpuFeatures none;
  EXPECT_STREQ(find_peak(PeakKind::kFloat32, none)->name, "peak_f32_baseline");
  EXPECT_EQ(find_peak(PeakKind::kBFloat16, none), nullptr);
  CpuFeatures wide;
  wide.avx2 = wide.avx512 = true;
  EXPECT_STREQ(find_peak(PeakKind::kInt8, wide)->name, "peak_s8_avx512");
  wide.avx512_vnni = true;
  EXPECT_STREQ(find_peak(PeakKind::kInt8, wide)->name, "peak_s8_avx512_vnni");
}

}  // namespace
}  // namespace pare
