#include "base/stats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace pare {
namespace {

// Expected values computed with statsmodels 0.14 (proportion_confint method "wilson", mcnemar
// exact).
TEST(Wilson, KnownValues) {
  const Interval a = wilson_interval(9206, 10000);
  EXPECT_NEAR(a.low, 0.9151380477, 1e-9);
  EXPECT_NEAR(a.high, 0.9257389329, 1e-9);
  const Interval none = wilson_interval(0, 10);
  EXPECT_EQ(none.low, 0.0);
  EXPECT_NEAR(none.high, 0.2775327999, 1e-9);
  const Interval all = wilson_interval(10, 10);
  EXPECT_EQ(all.high, 1.0);
  EXPECT_NEAR(all.low, 0.7224672001, 1e-9);
}

TEST(Wilson, NoTrialsSayNothing) {
  const Interval i = wilson_interval(0, 0);
  EXPECT_EQ(i.low, 0.0);
  EXPECT_EQ(i.high, 1.0);
}

// By hand: n = 10, k = 2: 2 * (1 + 10 + 45) / 1024.
TEST(McNemar, ByHand) {
  EXPECT_NEAR(mcnemar_exact(2, 8), 112.0 / 1024.0, 1e-12);
  EXPECT_NEAR(mcnemar_exact(8, 2), 112.0 / 1024.0, 1e-12);
  EXPECT_EQ(mcnemar_exact(0, 0), 1.0);
  EXPECT_EQ(mcnemar_exact(5, 5), 1.0);
  EXPECT_NEAR(mcnemar_exact(0, 6), 2.0 / 64.0, 1e-12);
}

TEST(McNemar, ThousandsDoNotUnderflow) {
  // statsmodels' mcnemar with exact=True.
  EXPECT_NEAR(mcnemar_exact(1900, 2100), 0.0016492663751357264, 1e-12);
}

// Computed from the paper's formulae with 50 digits (mpmath), Wilson's limits in their closed form.
TEST(PairedDifference, KnownValues) {
  const Interval negative_correlation = paired_difference_interval(36, 2, 12, 0);
  EXPECT_NEAR(negative_correlation.low, 0.0569295840, 1e-9);
  EXPECT_NEAR(negative_correlation.high, 0.3404276030, 1e-9);
  const Interval positive_correlation = paired_difference_interval(9000, 206, 150, 644);
  EXPECT_NEAR(positive_correlation.low, -0.0093267374, 1e-9);
  EXPECT_NEAR(positive_correlation.high, -0.0018972074, 1e-9);
}

TEST(Quantile, LinearInterpolation) {
  const std::vector<double> x = {4, 1, 3, 2};
  EXPECT_DOUBLE_EQ(quantile(x, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile(x, 0.9), 3.7);
  EXPECT_DOUBLE_EQ(quantile(x, 0.0), 1.0);
  EXPECT_DOUBLE_EQ(quantile(x, 1.0), 4.0);
  EXPECT_TRUE(std::isnan(quantile({}, 0.5)));
}

// Three samples 1, 2, 3: mean 2, s = 1, half width 4.303 / sqrt(3).
TEST(MeanInterval, ByHand) {
  const std::vector<double> x = {1, 2, 3};
  const MeanInterval m = mean_interval(x);
  EXPECT_DOUBLE_EQ(m.mean, 2.0);
  EXPECT_DOUBLE_EQ(m.standard_deviation, 1.0);
  EXPECT_NEAR(m.high, 2.0 + 4.303 / std::sqrt(3.0), 1e-9);
}

TEST(Bootstrap, CoversTheRatioAndIsRepeatable) {
  std::vector<double> a;
  std::vector<double> b;
  for (int i = 0; i < 101; ++i) {
    a.push_back(200 + i % 7);
    b.push_back(100 + i % 5);
  }
  const Interval first = bootstrap_ratio_of_medians(a, b, 500);
  const Interval second = bootstrap_ratio_of_medians(a, b, 500);
  EXPECT_EQ(first.low, second.low);
  EXPECT_LE(first.low, 203.0 / 102.0);
  EXPECT_GE(first.high, 203.0 / 102.0);
  EXPECT_GT(first.low, 1.9);
  EXPECT_LT(first.high, 2.1);
}

}  // namespace
}  // namespace pare
