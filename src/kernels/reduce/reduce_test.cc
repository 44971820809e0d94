#include "kernels/reduce/reduce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/rng.h"

namespace pare {
namespace {

// src is [2, 3, 4]; the middle dimension is reduced.
ReduceProblem middle(ReduceOp op) {
  return {.op = op,
          .kept_shape = {2, 4},
          .kept_strides = {12, 1},
          .reduced_shape = {3},
          .reduced_strides = {4}};
}

TEST(Reduce, EachOperationOverTheMiddle) {
  std::vector<float> src(24);
  std::iota(src.begin(), src.end(), -5.0F);
  ThreadPool pool(2);
  const auto run = [&](ReduceOp op) {
    std::vector<float> dst(8);
    run_reduce(middle(op), src.data(), dst.data(), pool);
    return dst;
  };
  EXPECT_EQ(run(ReduceOp::kSum)[0], -5.0F - 1.0F + 3.0F);
  EXPECT_EQ(run(ReduceOp::kMean)[4], 11.0F);
  EXPECT_EQ(run(ReduceOp::kMax)[1], 4.0F);
  EXPECT_EQ(run(ReduceOp::kMin)[1], -4.0F);
  EXPECT_EQ(run(ReduceOp::kProd)[0], 15.0F);
  EXPECT_EQ(run(ReduceOp::kL1)[0], 9.0F);
  EXPECT_EQ(run(ReduceOp::kSumSquare)[0], 35.0F);
  EXPECT_EQ(run(ReduceOp::kL2)[0], std::sqrt(35.0F));
}

TEST(Reduce, NaNWins) {
  std::vector<float> src(24, 1.0F);
  src[4] = NAN;
  std::vector<float> dst(8);
  ThreadPool pool(1);
  run_reduce(middle(ReduceOp::kMax), src.data(), dst.data(), pool);
  EXPECT_TRUE(std::isnan(dst[0]));
  EXPECT_EQ(dst[1], 1.0F);
}

TEST(Reduce, SameBitsForAnyThreads) {
  Rng rng(1, RngPurpose::kTest);
  std::vector<float> src(640 * 513);
  for (float& v : src) v = rng.normal();
  const ReduceProblem p{.op = ReduceOp::kMean,
                        .kept_shape = {640},
                        .kept_strides = {513},
                        .reduced_shape = {513},
                        .reduced_strides = {1}};
  std::vector<float> one(640);
  ThreadPool single(1);
  run_reduce(p, src.data(), one.data(), single);
  for (int threads : {2, 3}) {
    ThreadPool pool(threads);
    std::vector<float> many(640);
    run_reduce(p, src.data(), many.data(), pool);
    EXPECT_EQ(one, many);
  }
}

TEST(Reduce, ArgMaxTakesTheFirstOrTheLast) {
  const std::vector<float> src = {1, 5, 5, 2};
  const ReduceProblem p{
      .kept_shape = {1}, .kept_strides = {0}, .reduced_shape = {4}, .reduced_strides = {1}};
  int64_t at = -1;
  run_arg_max(p, false, src.data(), &at);
  EXPECT_EQ(at, 1);
  run_arg_max(p, true, src.data(), &at);
  EXPECT_EQ(at, 2);
}

}  // namespace
}  // namespace pare
