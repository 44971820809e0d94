#include "compress/prune.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"

namespace pare {
namespace {

std::vector<uint8_t> mask_of(const std::vector<float>& weights, int64_t count) {
  const Tensor mask = magnitude_mask(
      Tensor::from_values<float>({static_cast<int64_t>(weights.size())}, weights), count);
  const auto values = mask.values<uint8_t>();
  return {values.begin(), values.end()};
}

TEST(MagnitudeMask, SmallestGoTiesByPosition) {
  const std::vector<float> weights = {0.5F, -0.1F, 0.2F, -0.2F, 0.2F, 3.0F};
  EXPECT_EQ(mask_of(weights, 0), (std::vector<uint8_t>{1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(mask_of(weights, 1), (std::vector<uint8_t>{1, 0, 1, 1, 1, 1}));
  EXPECT_EQ(mask_of(weights, 3), (std::vector<uint8_t>{1, 0, 0, 0, 1, 1}));
  EXPECT_EQ(mask_of(weights, 6), (std::vector<uint8_t>{0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(mask_of({0.0F, 0.0F, 0.0F}, 2), (std::vector<uint8_t>{0, 0, 1}));
}

TEST(MagnitudeMask, AppliedLeavesTheOriginalAlone) {
  const Tensor weight = Tensor::from_values<float>({2, 2}, std::vector<float>{1, -2, 3, -4});
  const Tensor pruned = apply_mask(weight, magnitude_mask(weight, 2));
  EXPECT_EQ(to_float_vector(pruned), (std::vector<float>{0, 0, 3, -4}));
  EXPECT_EQ(to_float_vector(weight), (std::vector<float>{1, -2, 3, -4}));
  EXPECT_EQ(count_zeros(pruned), 2);
}

TEST(AllocateGlobally, OneThreshold) {
  const Tensor small = Tensor::from_values<float>({4}, std::vector<float>{0.1F, 0.2F, 0.3F, 0.4F});
  const Tensor large = Tensor::from_values<float>({4}, std::vector<float>{1, 2, 3, -0.3F});
  EXPECT_EQ(allocate_globally({&small, &large}, 3), (std::vector<int64_t>{3, 0}));
  EXPECT_EQ(allocate_globally({&small, &large}, 4), (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(allocate_globally({&small, &large}, 5), (std::vector<int64_t>{4, 1}));
  EXPECT_EQ(allocate_globally({&small, &large}, 0), (std::vector<int64_t>{0, 0}));
}

// Damage of a curve at a number of removed weights, on its lower convex hull: by brute force over
// all chords.
double hull_at(const DamageCurve& curve, double removed) {
  std::vector<double> x;
  std::vector<double> y;
  double highest = 0;
  for (size_t i = 0; i < curve.share.size(); ++i) {
    highest = std::max(highest, curve.damage[i]);
    x.push_back(curve.share[i] * static_cast<double>(curve.weights));
    y.push_back(highest);
  }
  double least = INFINITY;
  for (size_t i = 0; i < x.size(); ++i) {
    for (size_t j = i; j < x.size(); ++j) {
      if (removed < x[i] || removed > x[j]) continue;
      const double t = x[j] > x[i] ? (removed - x[i]) / (x[j] - x[i]) : 0;
      least = std::min(least, y[i] + t * (y[j] - y[i]));
    }
  }
  return least;
}

TEST(AllocateBudget, NoOtherSplitIsBetter) {
  const std::vector<DamageCurve> curves = {
      {100, {0, 0.3, 0.6, 0.9}, {0, 0.01, 0.2, 1.0}},
      {40, {0, 0.3, 0.6, 0.9}, {0, 0.05, 0.04, 0.5}},  // noise: not monotone
      {60, {0, 0.3, 0.6, 0.9}, {0, 0.3, 0.35, 0.4}},   // concave at first
  };
  for (const int64_t total : {0, 17, 60, 100, 140, 180}) {
    const auto found = allocate_budget(curves, total);
    ASSERT_TRUE(found.ok()) << found.status().message();
    EXPECT_EQ((*found)[0] + (*found)[1] + (*found)[2], total);
    double cost = 0;
    for (size_t i = 0; i < 3; ++i) cost += hull_at(curves[i], static_cast<double>((*found)[i]));
    double least = INFINITY;
    for (int64_t a = 0; a <= 90; ++a) {
      for (int64_t b = 0; b <= 36; ++b) {
        const int64_t c = total - a - b;
        if (c < 0 || c > 54) continue;
        least = std::min(least, hull_at(curves[0], static_cast<double>(a)) +
                                    hull_at(curves[1], static_cast<double>(b)) +
                                    hull_at(curves[2], static_cast<double>(c)));
      }
    }
    EXPECT_NEAR(cost, least, 1e-12) << total;
  }
}

TEST(AllocateBudget, TooMuchIsRefused) {
  const auto found = allocate_budget({{100, {0, 0.5}, {0, 1}}}, 51);
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(found.status().message().find("only 50"), std::string::npos);
}

}  // namespace
}  // namespace pare
