#include "kernels/move/move.h"

#include <gtest/gtest.h>

#include <numeric>

namespace pare {
namespace {

TEST(Move, TransposeSliceAndReverse) {
  std::vector<int32_t> src(2 * 3 * 4);
  std::iota(src.begin(), src.end(), 0);
  // dst[k, i, j] = src[i, j, 3 - k]
  std::vector<int32_t> dst(24, -1);
  ThreadPool pool(2);
  MovePlan({.element_bytes = 4,
            .shape = {4, 2, 3},
            .src_strides = {-1, 12, 4},
            .dst_strides = {6, 3, 1}})
      .run(src.data() + 3, dst.data(), pool);
  for (int k = 0; k < 4; ++k) {
    for (int i = 0; i < 2; ++i) {
      for (int j = 0; j < 3; ++j) {
        EXPECT_EQ(dst[static_cast<size_t>(k * 6 + i * 3 + j)], i * 12 + j * 4 + 3 - k);
      }
    }
  }
}

TEST(Move, LargeTransposesAreTheSameForAnyThreads) {
  const int64_t rows = 391;
  const int64_t cols = 777;
  std::vector<uint8_t> src(static_cast<size_t>(rows * cols));
  for (size_t i = 0; i < src.size(); ++i) src[i] = static_cast<uint8_t>(i * 7 + i / 256);
  const MovePlan plan({.element_bytes = 1,
                       .shape = {rows, cols},
                       .src_strides = {cols, 1},
                       .dst_strides = {1, rows}});
  for (int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    std::vector<uint8_t> dst(src.size());
    plan.run(src.data(), dst.data(), pool);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        ASSERT_EQ(dst[static_cast<size_t>(c * rows + r)], src[static_cast<size_t>(r * cols + c)]);
      }
    }
  }
}

TEST(Move, GatherCountsNegativeIndicesFromTheEndAndRefusesOthers) {
  const std::vector<int16_t> src = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};  // [2, 3, 2]
  const std::vector<int64_t> indices = {-1, 0};
  std::vector<int16_t> dst(8);
  const GatherProblem p{.outer = 2, .size = 3, .count = 2, .inner_bytes = 4};
  EXPECT_TRUE(run_gather(p, src.data(), indices.data(), dst.data()).ok);
  EXPECT_EQ(dst, (std::vector<int16_t>{4, 5, 0, 1, 10, 11, 6, 7}));
  const std::vector<int64_t> bad = {0, 3};
  const GatherResult result = run_gather(p, src.data(), bad.data(), dst.data());
  EXPECT_FALSE(result.ok);
  EXPECT_EQ(result.bad_index, 3);
}

TEST(Move, Fill) {
  std::vector<int16_t> dst(5, 0);
  const int16_t value = -3;
  run_fill(2, 5, &value, dst.data());
  EXPECT_EQ(dst, std::vector<int16_t>(5, -3));
}

TEST(Move, NothingToMove) {
  ThreadPool pool(1);
  MovePlan({.element_bytes = 4, .shape = {0, 3}, .src_strides = {3, 1}, .dst_strides = {3, 1}})
      .run(nullptr, nullptr, pool);
}

}  // namespace
}  // namespace pare
