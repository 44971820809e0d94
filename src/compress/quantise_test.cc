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

TEST(QuantiseWeights, PerChannelByHand) {
  // Two output channels of a [2, 3] weight: largest magnitudes 1.27 and 2.54.
  const Tensor weight = Tensor::from_values<float>(
      {2, 3}, std::vector<float>{1.27F, -0.02F, 0.0F, -2.54F, 1.0F, 0.03F});
  const QuantisedWeights q = quantise_weights(weight, 0);
  EXPECT_FLOAT_EQ(q.scales[0], 0.01F);
  EXPECT_FLOAT_EQ(q.scales[1], 0.02F);
  const auto values = q.values.values<int8_t>();
  const std::vector<int8_t> expected = {127, -2, 0, -127, 50, 2};  // 1.5 rounds to even
  EXPECT_EQ(std::vector<int8_t>(values.begin(), values.end()), expected);
}

TEST(QuantiseWeights, ColumnChannels) {
  const Tensor weight =
      Tensor::from_values<float>({2, 2}, std::vector<float>{1.27F, 12.7F, -1.27F, 0.1F});
  const QuantisedWeights q = quantise_weights(weight, 1);
  const auto values = q.values.values<int8_t>();
  const std::vector<int8_t> expected = {127, 127, -127, 1};
  EXPECT_EQ(std::vector<int8_t>(values.begin(), values.end()), expected);
}

TEST(QuantiseWeights, ZeroChannelAndLowerBound) {
  const Tensor weight = Tensor::from_values<float>({2, 1}, std::vector<float>{0.0F, 1.27F});
  EXPECT_EQ(quantise_weights(weight, 0).scales[0], 1.0F);
  const QuantisedWeights bounded = quantise_weights(weight, 0, {0.5F, 0.5F});
  EXPECT_EQ(bounded.scales[0], 0.5F);
  EXPECT_EQ(bounded.scales[1], 0.5F);
  EXPECT_EQ(bounded.values.values<int8_t>()[1], 3);  // 2.54
}

}  // namespace
}  // namespace pare
