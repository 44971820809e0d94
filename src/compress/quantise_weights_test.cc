#include "compress/quantise_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"

namespace pare {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int> integers_of(const QuantisedWeights& quantised) {
  const auto values = quantised.values.values<int8_t>();
  return {values.begin(), values.end()};
}

QuantisedWeights quantised(const Tensor& weight, int channel_axis, const WeightFormat& format,
                           const std::vector<float>& smallest = {}) {
  WeightLayer layer;
  layer.channel_axis = channel_axis;
  auto result = quantise_weights(weight, layer, format, smallest, round_to_nearest);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? *std::move(result) : QuantisedWeights{};
}

Tensor normal_weights(const Shape& shape, uint64_t seed) {
  Rng rng(seed, RngPurpose::kTest);
  Tensor weight(DType::kFloat32, shape);
  for (float& w : weight.mutable_values<float>()) w = rng.normal();
  return weight;
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

TEST(QuantiseWeights, FourBitsByHand) {
  // The range is -8 … 7: -1.6 is -8 steps of 0.2; 0.7 is 7 of 0.1, where -0.8 would be -8.
  const Tensor weight = Tensor::from_values<float>(
      {2, 4}, std::vector<float>{-1.6F, 0.29F, 0.0F, 1.3F, 0.7F, -0.31F, 0.26F, -0.06F});
  const QuantisedWeights q = quantised(weight, 0, {.bits = 4});
  EXPECT_FLOAT_EQ(q.scales[0], 0.2F);
  EXPECT_FLOAT_EQ(q.scales[1], 0.1F);
  EXPECT_THAT(integers_of(q), ElementsAre(-8, 1, 0, 6, 7, -3, 3, -1));
}

// Against every scale of a fine grid, worked out in double.
TEST(QuantiseWeights, LeastErrorBeatsEveryScale) {
  for (const int bits : {4, 8}) {
    Tensor weight = normal_weights({1, 2000}, 5);
    weight.mutable_values<float>()[7] = 9.0F;  // an outlier
    const auto w = weight.values<float>();
    const auto error = [&](double scale) {
      double sum = 0;
      for (const float v : w) {
        const double q =
            std::clamp(std::nearbyint(v / scale), static_cast<double>(lowest_weight(bits)),
                       static_cast<double>(highest_weight(bits)));
        sum += (v - q * scale) * (v - q * scale);
      }
      return sum;
    };
    double least = HUGE_VAL;
    for (double scale = 0.001; scale < 9.0; scale *= 1.01) least = std::min(least, error(scale));
    const double found = least_error_scale(w, bits);
    EXPECT_LE(error(found), 1.02 * least) << bits;
    // Four bits cut the outlier off, eight have levels enough.
    EXPECT_EQ(found < 0.5 * 9.0 / highest_weight(bits), bits == 4);
  }
  EXPECT_EQ(least_error_scale(std::vector<float>{0, 0}, 4), 0.0F);
}

TEST(QuantiseWeights, GroupsByHand) {
  // Groups of two inputs: largest magnitudes 7, 1.4 and 2.8. The channel's scale is that of the
  // first, 1, over 15; 0.2 is three times that, 0.4 six times. Without the common divisor: 1/5 and
  // 5, 1, 2.
  const Tensor weight =
      Tensor::from_values<float>({1, 6}, std::vector<float>{7.0F, -2.2F, 1.4F, 0.31F, -0.4F, 2.8F});
  const QuantisedWeights q = quantised(weight, 0, {.bits = 4, .group = 2});
  EXPECT_NEAR(q.scales[0], 0.2, 1e-6);
  EXPECT_THAT(q.factors, ElementsAre(5, 1, 2));
  EXPECT_THAT(integers_of(q), ElementsAre(7, -2, 7, 2, -1, 7));
  const Tensor floats = dequantised(q, 0);
  EXPECT_NEAR(floats.values<float>()[1], -2.0, 1e-6);
  EXPECT_NEAR(floats.values<float>()[3], 0.4, 1e-6);
}

TEST(QuantiseWeights, GroupsOfColumnsAndAShorterLastOne) {
  const Tensor rows = normal_weights({3, 70}, 8);
  Tensor columns(DType::kFloat32, {70, 3});
  for (size_t o = 0; o < 3; ++o)
    for (size_t i = 0; i < 70; ++i)
      columns.mutable_values<float>()[i * 3 + o] = rows.values<float>()[o * 70 + i];
  for (const WeightRange range : {WeightRange::kMinMax, WeightRange::kMse}) {
    const WeightFormat format{.bits = 4, .group = 32, .range = range};
    const QuantisedWeights by_rows = quantised(rows, 0, format);
    const QuantisedWeights by_columns = quantised(columns, 1, format);
    EXPECT_EQ(by_rows.factors.size(), 9U);
    EXPECT_EQ(by_rows.factors, by_columns.factors);
    EXPECT_EQ(by_rows.scales, by_columns.scales);
    for (size_t o = 0; o < 3; ++o)
      for (size_t i = 0; i < 70; ++i)
        EXPECT_EQ(by_rows.values.values<int8_t>()[o * 70 + i],
                  by_columns.values.values<int8_t>()[i * 3 + o]);
  }
}

TEST(QuantiseWeights, EachStepIsBetterThanTheOneBefore) {
  const Tensor weight = normal_weights({8, 256}, 3);
  const auto snr = [&](const WeightFormat& format) {
    return rounding_snr_db(weight, quantised(weight, 0, format), 0);
  };
  const double plain = snr({.bits = 4});
  const double least_error = snr({.bits = 4, .range = WeightRange::kMse});
  const double groups = snr({.bits = 4, .group = 32, .range = WeightRange::kMse});
  const double bytes = snr({.bits = 8});
  EXPECT_GT(plain, 14.0);
  EXPECT_GT(least_error, plain + 0.3);
  EXPECT_GT(groups, least_error + 0.2);
  EXPECT_GT(bytes, 38.0);
}

TEST(QuantiseWeights, ZeroGroupsAndLowerBounds) {
  const Tensor weight =
      Tensor::from_values<float>({2, 4}, std::vector<float>{0, 0, 0, 0, 0, 0, 0.7F, -0.1F});
  const QuantisedWeights q = quantised(weight, 0, {.bits = 4, .group = 2}, {0.0F, 0.5F});
  EXPECT_THAT(integers_of(q), ElementsAre(0, 0, 0, 0, 0, 0, 1, 0));
  EXPECT_EQ(q.scales[0], 1.0F);
  EXPECT_EQ(q.scales[1], 0.5F);
  EXPECT_THAT(q.factors, Each(1));
}

TEST(QuantiseWeights, FormatsAndRoundingsThatAreRefused) {
  const Tensor weight = normal_weights({2, 4}, 1);
  WeightLayer layer;
  layer.name = "fc";
  const auto message = [&](const WeightFormat& format, const RoundWeights& round) {
    const auto result = quantise_weights(weight, layer, format, {}, round);
    EXPECT_FALSE(result.ok());
    return std::string(result.status().message());
  };
  EXPECT_THAT(message({.bits = 5}, round_to_nearest), HasSubstr("5 bits: expected 8 or 4"));
  EXPECT_THAT(message({.bits = 8, .group = 32}, round_to_nearest), HasSubstr("groups of 32"));
  EXPECT_THAT(message({}, [](const RoundingTask&) { return std::vector<int8_t>(3); }),
              HasSubstr("'fc': 3 integers for 8 weights"));
}

// A rounding method sees rows, their scales and the integers that it may use.
TEST(QuantiseWeights, RoundingIsTheCallers) {
  const Tensor weight =
      Tensor::from_values<float>({2, 2}, std::vector<float>{1.4F, 0.3F, -0.55F, 0.6F});
  WeightLayer layer;
  layer.channel_axis = 1;
  const auto down = [&](const RoundingTask& task) -> Result<std::vector<int8_t>> {
    EXPECT_EQ(task.layer, &layer);
    EXPECT_EQ(task.outputs, 2);
    EXPECT_EQ(task.inputs, 2);
    EXPECT_EQ(task.groups(), 1);
    EXPECT_EQ(task.lowest, -8);
    EXPECT_EQ(task.highest, 7);
    EXPECT_THAT(task.weights, ElementsAre(1.4F, -0.55F, 0.3F, 0.6F));
    std::vector<int8_t> integers;
    for (size_t i = 0; i < 4; ++i)
      integers.push_back(static_cast<int8_t>(std::floor(task.weights[i] / task.scales[i / 2])));
    return integers;
  };
  const auto q = quantise_weights(weight, layer, {.bits = 4}, {0.25F, 0.25F}, down);
  ASSERT_TRUE(q.ok());
  EXPECT_THAT(integers_of(*q), ElementsAre(5, 1, -3, 2));  // 5.6, 1.2, -2.2, 2.4 downwards
}

}  // namespace
}  // namespace pare
