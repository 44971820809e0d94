#include "compress/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace pare {
namespace {

std::vector<float> normal_values(int n, float scale) {
  Rng rng(7, RngPurpose::kTest);
  std::vector<float> values;
  for (int i = 0; i < n; ++i) values.push_back(scale * rng.normal());
  return values;
}

void expect_same(const Histogram& a, const Histogram& b) {
  EXPECT_EQ(a.count(), b.count());
  EXPECT_EQ(a.zeros(), b.zeros());
  EXPECT_EQ(a.min(), b.min());
  EXPECT_EQ(a.max(), b.max());
  EXPECT_EQ(a.bin_width(), b.bin_width());
  for (int k = -Histogram::kSide; k < Histogram::kSide; ++k) ASSERT_EQ(a.bin(k), b.bin(k)) << k;
}

TEST(Histogram, CountsWhatSortingFinds) {
  std::vector<float> values = normal_values(20000, 3.0F);
  Histogram histogram;
  EXPECT_EQ(histogram.add(values), 0);
  std::sort(values.begin(), values.end());
  EXPECT_EQ(histogram.count(), 20000);
  EXPECT_EQ(histogram.min(), values.front());
  EXPECT_EQ(histogram.max(), values.back());
  for (const double q : {0.0001, 0.01, 0.25, 0.5, 0.9, 0.999, 0.9999}) {
    const auto rank = static_cast<size_t>(q * 20000);
    EXPECT_GE(histogram.quantile(q), values[rank - 1] - histogram.bin_width()) << q;
    EXPECT_LE(histogram.quantile(q), values[rank] + histogram.bin_width()) << q;
  }
  for (int k = -3; k < 3; ++k) {
    const auto in_bin = std::count_if(values.begin(), values.end(), [&](float x) {
      return x >= k * histogram.bin_width() && x < (k + 1) * histogram.bin_width();
    });
    EXPECT_EQ(histogram.bin(k), in_bin) << k;
  }
}

TEST(Histogram, OrderAndBatchesDoNotMatter) {
  std::vector<float> values = normal_values(5000, 0.01F);
  values[4000] = -900.0F;  // the range grows late
  Histogram at_once;
  at_once.add(values);
  Histogram reversed;
  std::vector<float> backwards(values.rbegin(), values.rend());
  for (size_t i = 0; i < backwards.size(); i += 100)
    reversed.add(std::span(backwards).subspan(i, 100));
  expect_same(at_once, reversed);
  Histogram first;
  Histogram second;
  first.add(std::span(values).first(1234));
  second.add(std::span(values).subspan(1234));
  first.merge(second);
  expect_same(at_once, first);
  Histogram empty;
  empty.merge(at_once);
  expect_same(at_once, empty);
}

TEST(Histogram, ZerosStandApart) {
  std::vector<float> values(1000, 0.0F);
  for (int i = 0; i < 100; ++i) values[static_cast<size_t>(i)] = static_cast<float>(i + 1);
  Histogram histogram;
  histogram.add(values);
  EXPECT_EQ(histogram.zeros(), 900);
  EXPECT_EQ(histogram.quantile(0.5), 0.0);
  EXPECT_NEAR(histogram.quantile(0.95), 50.0, 1.0);
  EXPECT_EQ(histogram.quantile(1.0), 100.0);
}

TEST(Histogram, NotFiniteIsCountedNotKept) {
  const std::vector<float> values = {1.0F, std::numeric_limits<float>::quiet_NaN(), -2.0F,
                                     std::numeric_limits<float>::infinity()};
  Histogram histogram;
  EXPECT_EQ(histogram.add(values), 2);
  EXPECT_EQ(histogram.count(), 2);
  EXPECT_EQ(histogram.min(), -2.0F);
  EXPECT_EQ(histogram.max(), 1.0F);
}

TEST(Histogram, ExtremesFit) {
  const std::vector<float> values = {std::numeric_limits<float>::max(),
                                     std::numeric_limits<float>::lowest(),
                                     std::numeric_limits<float>::denorm_min()};
  Histogram histogram;
  EXPECT_EQ(histogram.add(values), 0);
  EXPECT_EQ(histogram.bin(0), 1);
  EXPECT_EQ(histogram.last(), Histogram::kSide);
  EXPECT_EQ(histogram.max(), values[0]);
  Histogram empty;
  EXPECT_EQ(empty.quantile(0.5), 0.0);
  EXPECT_EQ(empty.count(), 0);
}

TEST(Histogram, OneSidedNegative) {
  const std::vector<float> values = {-1.0F, -2.0F, -3.0F, -4.0F};
  Histogram histogram;
  histogram.add(values);
  EXPECT_EQ(histogram.min(), -4.0F);
  EXPECT_EQ(histogram.max(), -1.0F);
  EXPECT_EQ(histogram.quantile(0.0), -4.0);
  EXPECT_NEAR(histogram.quantile(0.5), -3.0, 0.01);
}

}  // namespace
}  // namespace pare
