#include "compress/quantise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "base/rounding.h"

namespace pare {
namespace {

Histogram histogram_of(const std::vector<float>& values) {
  Histogram histogram;
  histogram.add(values);
  return histogram;
}

// The error that the values themselves, not their histogram, suffer.
double true_mse(const std::vector<float>& values, const ActivationScale& s) {
  double sum = 0;
  for (const float x : values) {
    const double e =
        x - dequantise(quantise(x, s.scale, s.zero_point, 0, 255), s.scale, s.zero_point);
    sum += e * e;
  }
  return sum / static_cast<double>(values.size());
}

std::vector<float> with_outliers() {
  Rng rng(3, RngPurpose::kTest);
  std::vector<float> values;
  for (int i = 0; i < 50000; ++i) values.push_back(rng.normal());
  values.push_back(60.0F);
  values.push_back(-45.0F);
  return values;
}

TEST(ActivationScale, ByHand) {
  const ActivationScale positive = activation_scale({0.0, 5.1});
  EXPECT_FLOAT_EQ(positive.scale, 0.02F);
  EXPECT_EQ(positive.zero_point, 0);
  const ActivationScale both = activation_scale({-1.0, 3.0});
  EXPECT_FLOAT_EQ(both.scale, 4.0F / 255.0F);
  EXPECT_EQ(both.zero_point, 64);                             // 63.75
  EXPECT_EQ(activation_scale({-2.0, -1.0}).zero_point, 255);  // the range includes zero
  EXPECT_EQ(activation_scale({3.0, 5.1}).zero_point, 0);
  const ActivationScale nothing = activation_scale({0.0, 0.0});
  EXPECT_EQ(nothing.scale, 1.0F);
  EXPECT_EQ(nothing.zero_point, 0);
}

TEST(ActivationScale, ZeroIsExact) {
  for (const Range range : {Range{-1.3, 2.9}, Range{-0.001, 8.0}, Range{-7.0, 0.1}}) {
    const ActivationScale s = activation_scale(range);
    const int32_t q = quantise(0.0F, s.scale, s.zero_point, 0, 255);
    EXPECT_EQ(dequantise(q, s.scale, s.zero_point), 0.0F);
  }
}

TEST(ChooseRange, MinMaxAndPercentile) {
  std::vector<float> values;
  for (int i = 1; i <= 10000; ++i) values.push_back(static_cast<float>(i));
  const Histogram histogram = histogram_of(values);
  EXPECT_EQ(choose_range(histogram, RangeRule::kMinMax, 0).high, 10000.0);
  const Range range = choose_range(histogram, RangeRule::kPercentile, 99.0);
  EXPECT_NEAR(range.high, 9900.0, 3.0);
  EXPECT_EQ(range.low, 0.0);
  EXPECT_EQ(choose_range(Histogram(), RangeRule::kMse, 0).high, 0.0);
}

TEST(ChooseRange, MseBeatsEveryPlainClip) {
  const std::vector<float> values = with_outliers();
  const Range found = choose_range(histogram_of(values), RangeRule::kMse, 0);
  const double least = true_mse(values, activation_scale(found));
  for (double clip = 3; clip <= 60; clip += 0.5)
    EXPECT_LE(least, 1.02 * true_mse(values, activation_scale({-clip, clip}))) << clip;
  EXPECT_LT(least, true_mse(values, activation_scale({-45, 60})));
}

TEST(ChooseRange, HistogramErrorIsTheValuesError) {
  const std::vector<float> values = with_outliers();
  const ActivationScale s = activation_scale({-8, 8});
  EXPECT_NEAR(quantisation_mse(histogram_of(values), s), true_mse(values, s),
              0.01 * true_mse(values, s));
}

TEST(ChooseRange, EntropyCutsOutliersAndKeepsUniform) {
  const Range cut = choose_range(histogram_of(with_outliers()), RangeRule::kEntropy, 0);
  EXPECT_LT(cut.high, 30.0);
  EXPECT_GT(cut.high, 3.0);
  std::vector<float> uniform;
  for (int i = 0; i < 100000; ++i) uniform.push_back(static_cast<float>(i) / 100000.0F);
  EXPECT_GT(choose_range(histogram_of(uniform), RangeRule::kEntropy, 0).high, 0.95);
}

TEST(MovingRange, ByHand) {
  MovingRange moving;
  moving.add(std::vector<float>{-1.0F, 3.0F});  // the first batch counts in full
  moving.add(std::vector<float>{0.0F, 13.0F});
  EXPECT_DOUBLE_EQ(moving.range().low, -0.9);
  EXPECT_DOUBLE_EQ(moving.range().high, 4.0);
  moving.add({});
  moving.add(std::vector<float>{-0.9F, 4.0F});
  EXPECT_NEAR(moving.range().low, -0.9, 1e-7);
  EXPECT_DOUBLE_EQ(moving.range().high, 4.0);
}

TEST(SignalToNoise, ByHand) {
  EXPECT_DOUBLE_EQ(signal_to_noise_db(100, 1), 20.0);
  EXPECT_DOUBLE_EQ(signal_to_noise_db(1, 0), 200.0);
  EXPECT_DOUBLE_EQ(signal_to_noise_db(0, 1), -200.0);
}

}  // namespace
}  // namespace pare
