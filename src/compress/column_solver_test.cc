#include "compress/column_solver.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "compress/elimination.h"

namespace pare {
namespace {

std::vector<int64_t> in_order(int64_t k) {
  std::vector<int64_t> order(static_cast<size_t>(k));
  std::iota(order.begin(), order.end(), int64_t{0});
  return order;
}

std::vector<float> normals(int64_t n, uint64_t seed) {
  Rng rng(seed, RngPurpose::kTest);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = rng.normal();
  return values;
}

// Sum of x x^T over `rows` rows whose neighbours go together, upper triangle.
std::vector<double> random_gram(int64_t k, int64_t rows, uint64_t seed) {
  std::vector<double> gram(static_cast<size_t>(k * k), 0.0);
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<float> x = normals(k, seed * 1000 + static_cast<uint64_t>(r));
    for (size_t i = 1; i < x.size(); ++i) x[i] += 0.8F * x[i - 1];
    for (int64_t i = 0; i < k; ++i)
      for (int64_t j = i; j < k; ++j)
        gram[static_cast<size_t>(i * k + j)] +=
            static_cast<double>(x[static_cast<size_t>(i)]) * x[static_cast<size_t>(j)];
  }
  return gram;
}

double mean_diagonal(const std::vector<double>& gram, int64_t k) {
  double sum = 0;
  for (int64_t i = 0; i < k; ++i) sum += gram[static_cast<size_t>(i * k + i)];
  return sum / static_cast<double>(k);
}

double h_at(const std::vector<double>& gram, int64_t k, int64_t i, int64_t j, double lambda) {
  return gram[static_cast<size_t>(std::min(i, j) * k + std::max(i, j))] + (i == j ? lambda : 0.0);
}

TEST(InvertGram, TransposeTimesFactorIsTheInverse) {
  ThreadPool pool(2);
  constexpr int64_t kSize = 150;  // more than two tasks of columns
  const std::vector<double> gram = random_gram(kSize, 400, 1);
  std::vector<int64_t> order = in_order(kSize);
  std::reverse(order.begin() + 20, order.begin() + 90);
  const auto factor = invert_gram(gram, kSize, order, 0.01, pool);
  ASSERT_TRUE(factor.ok()) << factor.status().message();
  EXPECT_NEAR(factor->lambda, 0.01 * mean_diagonal(gram, kSize), 1e-9);
  EXPECT_FALSE(factor->no_inputs);
  const auto u = [&](int64_t i, int64_t j) {
    return static_cast<double>(factor->u[static_cast<size_t>(i * kSize + j)]);
  };
  // (U^T U) H = I.
  std::vector<double> inverse(kSize * kSize, 0.0);
  for (int64_t i = 0; i < kSize; ++i)
    for (int64_t j = 0; j < kSize; ++j)
      for (int64_t l = 0; l <= std::min(i, j); ++l)
        inverse[static_cast<size_t>(i * kSize + j)] += u(l, i) * u(l, j);
  for (int64_t i = 0; i < kSize; ++i) {
    for (int64_t j = 0; j < kSize; ++j) {
      if (j < i) {
        EXPECT_EQ(u(i, j), 0.0);
      }
      double sum = 0;
      for (int64_t l = 0; l < kSize; ++l)
        sum += inverse[static_cast<size_t>(i * kSize + l)] *
               h_at(gram, kSize, order[static_cast<size_t>(l)], order[static_cast<size_t>(j)],
                    factor->lambda);
      ASSERT_NEAR(sum, i == j ? 1.0 : 0.0, 2e-4) << i << " " << j;
    }
  }
}

TEST(InvertGram, NothingSeenDeadInputsAndSingularMatrices) {
  ThreadPool pool(1);
  const auto nothing = invert_gram(std::vector<double>(9, 0.0), 3, in_order(3), 0.01, pool);
  ASSERT_TRUE(nothing.ok());
  EXPECT_TRUE(nothing->no_inputs);
  EXPECT_EQ(nothing->u, (std::vector<float>{1, 0, 0, 0, 1, 0, 0, 0, 1}));
  // The second input is always zero: λ = 0.01 · (4 + 0) / 2 alone is on its diagonal.
  const auto dead = invert_gram(std::vector<double>{4, 0, 0, 0}, 2, in_order(2), 0.01, pool);
  ASSERT_TRUE(dead.ok());
  EXPECT_NEAR(dead->diagonal(1), 1 / std::sqrt(0.02), 1e-5);
  EXPECT_EQ(dead->u[1], 0.0F);
  // One image: rank one.
  const auto one = invert_gram(std::vector<double>{1, 1, 0, 1}, 2, in_order(2), 0.01, pool);
  EXPECT_TRUE(one.ok());
}

TEST(InvertGram, RefusesWhatIsNoGramMatrix) {
  ThreadPool pool(1);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const std::vector<double>& gram : {std::vector<double>{nan, 0, 0, 1}, {1, 100, 0, 1}}) {
    const auto factor = invert_gram(gram, 2, in_order(2), 0.01, pool);
    ASSERT_FALSE(factor.ok());
    EXPECT_EQ(factor.status().code(), StatusCode::kNumeric);
  }
}

// H = [2 1; 1 2], w = (1, 1), the first weight pruned. d/dv of (1, 1-v) H (1, 1-v)^T is zero at
// v = 1.5, where the cost is 2 - 1 + 0.5 = 1.5.
TEST(SettleColumns, ByHand) {
  ThreadPool pool(1);
  const auto factor = invert_gram(std::vector<double>{2, 1, 0, 2}, 2, in_order(2), 0.0, pool);
  ASSERT_TRUE(factor.ok());
  std::vector<float> w = {1, 1};
  ColumnRule rule;
  rule.settle = [](int64_t, int64_t column, float now) { return column == 0 ? 0.0F : now; };
  const std::vector<double> cost = settle_columns(w, 1, *factor, rule, pool);
  EXPECT_EQ(w[0], 0.0F);
  EXPECT_NEAR(w[1], 1.5F, 1e-6);
  EXPECT_NEAR(cost[0], 1.5, 1e-6);
}

TEST(SettleColumns, IsEliminationAndItsCostIsTheQuadraticForm) {
  ThreadPool pool(2);
  constexpr int64_t kSize = 150;
  constexpr int64_t kRows = 70;  // two tasks
  const std::vector<double> gram = random_gram(kSize, 400, 2);
  const auto factor = invert_gram(gram, kSize, in_order(kSize), 0.01, pool);
  ASSERT_TRUE(factor.ok());
  const std::vector<float> before = normals(kRows * kSize, 3);
  std::vector<float> after = before;
  const auto snap = [](double w) { return std::nearbyint(w * 4) / 4; };
  ColumnRule rule;
  rule.settle = [&](int64_t, int64_t, float w) { return static_cast<float>(snap(w)); };
  const std::vector<double> cost = settle_columns(after, kRows, *factor, rule, pool);
  elimination::Matrix h(kSize, std::vector<double>(kSize));
  for (int64_t i = 0; i < kSize; ++i)
    for (int64_t j = 0; j < kSize; ++j)
      h[static_cast<size_t>(i)][static_cast<size_t>(j)] = h_at(gram, kSize, i, j, factor->lambda);
  for (const int64_t r : {int64_t{0}, int64_t{69}}) {
    std::vector<double> w(before.begin() + r * kSize, before.begin() + (r + 1) * kSize);
    const std::vector<double> want =
        elimination::settle(w, h, [&](size_t, double now, double) { return snap(now); });
    std::vector<double> off(kSize);
    for (size_t c = 0; c < kSize; ++c) {
      EXPECT_EQ(after[static_cast<size_t>(r) * kSize + c], want[c]) << r << " " << c;
      off[c] = w[c] - after[static_cast<size_t>(r) * kSize + c];
    }
    double form = 0;
    for (size_t i = 0; i < kSize; ++i)
      for (size_t j = 0; j < kSize; ++j) form += off[i] * h[i][j] * off[j];
    EXPECT_NEAR(cost[static_cast<size_t>(r)], form, 1e-3 * form) << r;
  }
}

TEST(SettleColumns, ThreadsChangeNothing) {
  constexpr int64_t kSize = 200;
  constexpr int64_t kRows = 130;
  const std::vector<double> gram = random_gram(kSize, 300, 4);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    const auto factor = invert_gram(gram, kSize, in_order(kSize), 0.01, pool);
    std::vector<float>& w = results.emplace_back(normals(kRows * kSize, 5));
    ColumnRule rule;
    rule.settle = [](int64_t, int64_t column, float now) { return column % 2 == 0 ? 0.0F : now; };
    settle_columns(w, kRows, *factor, rule, pool);
  }
  EXPECT_EQ(results[0], results[1]);
}

}  // namespace
}  // namespace pare
