// The thread pool, the random numbers and the processor's features.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <set>
#include <vector>

#include "base/cpu_features.h"
#include "base/rng.h"
#include "base/rounding.h"
#include "base/thread_pool.h"

namespace pare {
namespace {

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int64_t tasks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(tasks));
      pool.run(tasks, [&](int64_t task, int worker) {
        ASSERT_LT(worker, threads);
        ++seen[static_cast<size_t>(task)];
      });
      for (const auto& count : seen) EXPECT_EQ(count.load(), 1);
    }
  }
}

TEST(ThreadPool, ManyShortJobsInARow) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  for (int job = 0; job < 2000; ++job) pool.run(3, [&](int64_t task, int) { sum += task; });
  EXPECT_EQ(sum.load(), 6000);
}

TEST(ThreadPool, JobsDoNotMix) {
  // Jobs of changing size and function follow at once: a worker late for one must not run its tasks
  // under the next.
  ThreadPool pool(4);
  for (int job = 0; job < 5000; ++job) {
    const int tasks = 2 + job % 7;
    std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
    if (job % 2 == 0) {
      pool.run(tasks, [&](int64_t t, int) { runs[static_cast<size_t>(t)] += 1; });
    } else {
      pool.run(tasks, [&, job](int64_t t, int) { runs[static_cast<size_t>(t)] += job; });
    }
    for (auto& r : runs) ASSERT_EQ(r.load(), job % 2 == 0 ? 1 : job);
  }
}

TEST(ThreadPool, WakesAfterSleeping) {
  ThreadPool pool(2);
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    std::atomic<int> n{0};
    pool.run(4, [&](int64_t, int) { ++n; });
    EXPECT_EQ(n.load(), 4);
  }
}

TEST(Rng, SameKeySameNumbersOtherKeyOthers) {
  Rng a(7, RngPurpose::kTest, 1, 2);
  Rng b(7, RngPurpose::kTest, 1, 2);
  Rng c(7, RngPurpose::kTest, 2, 2);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint32_t x = a.next_u32();
    EXPECT_EQ(x, b.next_u32());
    differs = differs || x != c.next_u32();
  }
  EXPECT_TRUE(differs);
}

// Random123's known answers file (kat_vectors): philox4x32 10, counter and key all zero.
TEST(Rng, PhiloxKnownAnswer) {
  // Purpose 0 is nobody's: it makes the counter all zero.
  Rng rng(0, static_cast<RngPurpose>(0));
  EXPECT_EQ(rng.next_u32(), 0x6627e8d5U);
  EXPECT_EQ(rng.next_u32(), 0xe169c58dU);
  EXPECT_EQ(rng.next_u32(), 0xbc57ac4cU);
  EXPECT_EQ(rng.next_u32(), 0x9b00dbd8U);
}

TEST(Rng, MomentsAreRight) {
  Rng rng(1, RngPurpose::kTest);
  const int n = 200000;
  double uniform = 0;
  double normal = 0;
  double square = 0;
  double beta = 0;
  for (int i = 0; i < n; ++i) {
    uniform += rng.uniform();
    const double x = rng.normal();
    normal += x;
    square += x * x;
    beta += rng.beta(0.8F, 0.4F);
  }
  EXPECT_NEAR(uniform / n, 0.5, 0.005);
  EXPECT_NEAR(normal / n, 0.0, 0.01);
  EXPECT_NEAR(square / n, 1.0, 0.02);
  EXPECT_NEAR(beta / n, 0.8 / 1.2, 0.005);
}

TEST(Rng, PermutationHoldsEachOnce) {
  const auto p = Rng(3, RngPurpose::kShuffle).permutation(1000);
  EXPECT_EQ(std::set<int64_t>(p.begin(), p.end()).size(), 1000U);
  EXPECT_EQ(*std::max_element(p.begin(), p.end()), 999);
}

TEST(Rounding, TiesGoToEvenAndNothingOverflows) {
  EXPECT_EQ(quantise(0.5F, 1.0F, 0, -128, 127), 0);
  EXPECT_EQ(quantise(1.5F, 1.0F, 0, -128, 127), 2);
  EXPECT_EQ(quantise(-2.5F, 1.0F, 0, -128, 127), -2);
  EXPECT_EQ(quantise(1e30F, 1.0F, 3, 0, 255), 255);
  EXPECT_EQ(quantise(-INFINITY, 1.0F, 3, 0, 255), 0);
  EXPECT_EQ(quantise(NAN, 1.0F, 3, 0, 255), 0);
  EXPECT_EQ(requantise(1000, 0.0105F, 10, 0, 255), 20);  // 10.5 in float is a tie or just below
  EXPECT_EQ(dequantise(130, 0.5F, 128), 1.0F);
}

TEST(CpuFeatures, LevelsAreChecked) {
  CpuFeatures some;
  some.avx2 = some.avx512 = true;
  EXPECT_EQ(*limit_features(some, "baseline"), CpuFeatures{});
  EXPECT_FALSE(limit_features(some, "avx2")->avx512);
  EXPECT_TRUE(limit_features(some, "avx512")->avx2);
  EXPECT_EQ(limit_features(some, "amx").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(limit_features(some, "avx9").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(features_string(some), "avx2 avx512");
}

TEST(CpuFeatures, TheMachineHasAModelAndCores) {
  const CpuInfo info = detect_cpu();
  EXPECT_FALSE(info.model.empty());
  EXPECT_GE(info.cores, 1);
}

}  // namespace
}  // namespace pare
