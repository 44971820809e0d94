#include "compress/gptq.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"
#include "compress/elimination.h"

namespace pare {
namespace {

constexpr int64_t kInputs = 12;
constexpr int64_t kOutputs = 5;

struct Problem {
  std::vector<float> weights;
  std::vector<double> gram;  // whole, both triangles
};

// Inputs that go together and differ in size, as a layer's do.
Problem problem() {
  Rng rng(11, RngPurpose::kTest);
  Problem p;
  for (int64_t i = 0; i < kOutputs * kInputs; ++i) p.weights.push_back(rng.normal());
  p.gram.assign(kInputs * kInputs, 0.0);
  for (int r = 0; r < 40; ++r) {
    std::vector<double> x(kInputs);
    const double common = rng.normal();
    for (size_t i = 0; i < kInputs; ++i)
      x[i] = (common + 0.5 * rng.normal()) * (1 + static_cast<double>(i * 7 % 5));
    for (size_t i = 0; i < kInputs; ++i)
      for (size_t j = 0; j < kInputs; ++j) p.gram[i * kInputs + j] += x[i] * x[j];
  }
  return p;
}

double damping_of(const Problem& p) {
  double sum = 0;
  for (size_t i = 0; i < kInputs; ++i) sum += p.gram[i * kInputs + i];
  return kDamping * sum / kInputs;
}

// `width`: inputs that share a scale.
double cost_of(const Problem& p, const std::vector<float>& scales,
               const std::vector<int8_t>& integers, size_t width = kInputs) {
  const size_t groups = scales.size() / kOutputs;
  double cost = 0;
  for (size_t o = 0; o < kOutputs; ++o) {
    std::vector<double> d(kInputs);
    for (size_t i = 0; i < kInputs; ++i)
      d[i] = static_cast<double>(p.weights[o * kInputs + i]) -
             static_cast<double>(scales[o * groups + i / width]) * integers[o * kInputs + i];
    for (size_t i = 0; i < kInputs; ++i) {
      for (size_t j = 0; j < kInputs; ++j) cost += d[i] * p.gram[i * kInputs + j] * d[j];
      cost += d[i] * d[i] * damping_of(p);
    }
  }
  return cost;
}

std::vector<int8_t> nearest(const Problem& p, const std::vector<float>& scales, int limit,
                            size_t width = kInputs) {
  const size_t groups = scales.size() / kOutputs;
  std::vector<int8_t> integers;
  for (size_t i = 0; i < p.weights.size(); ++i) {
    const float scale = scales[i / kInputs * groups + i % kInputs / width];
    const double q = std::nearbyint(static_cast<double>(p.weights[i]) / scale);
    integers.push_back(static_cast<int8_t>(std::clamp<double>(q, -limit, limit)));
  }
  return integers;
}

// In the paper's order of columns, against elimination of the inverse.
TEST(Gptq, IsTheFormulaOfThePaper) {
  ThreadPool pool(2);
  const Problem p = problem();
  const std::vector<float> scales(kOutputs, 0.4F);
  GptqOptions options;
  options.lowest = -7;
  options.highest = 7;
  for (const bool by_activity : {false, true}) {
    options.by_activity = by_activity;
    const auto rounded = gptq_round(p.weights, kOutputs, kInputs, p.gram, scales, options, pool);
    ASSERT_TRUE(rounded.ok()) << rounded.status().message();
    std::vector<size_t> order(kInputs);
    for (size_t i = 0; i < kInputs; ++i) order[i] = i;
    if (by_activity)
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return p.gram[a * kInputs + a] > p.gram[b * kInputs + b];
      });
    elimination::Matrix h(kInputs, std::vector<double>(kInputs));
    for (size_t i = 0; i < kInputs; ++i)
      for (size_t j = 0; j < kInputs; ++j)
        h[i][j] = p.gram[order[i] * kInputs + order[j]] + (i == j ? damping_of(p) : 0.0);
    for (size_t o = 0; o < kOutputs; ++o) {
      std::vector<double> w(kInputs);
      for (size_t i = 0; i < kInputs; ++i) w[i] = p.weights[o * kInputs + order[i]];
      const auto grid = [](size_t, double now, double) {
        return 0.4F * std::clamp(std::nearbyint(now / 0.4F), -7.0, 7.0);
      };
      const std::vector<double> want = elimination::settle(w, h, grid);
      for (size_t i = 0; i < kInputs; ++i)
        EXPECT_EQ(rounded->values[o * kInputs + order[i]], std::lround(want[i] / 0.4)) << o << i;
    }
    EXPECT_NEAR(rounded->cost, cost_of(p, scales, rounded->values), 1e-3 * rounded->cost);
  }
}

TEST(Gptq, CostsLessThanNearestWithScalesByOutputAndByGroup) {
  ThreadPool pool(1);
  const Problem p = problem();
  for (const int64_t width : {int64_t{0}, int64_t{5}}) {  // groups of 5, 5 and 2
    const int64_t groups = width == 0 ? 1 : 3;
    std::vector<float> scales;
    for (int64_t i = 0; i < kOutputs * groups; ++i)
      scales.push_back(0.4F + 0.05F * static_cast<float>(i % 3));
    GptqOptions options;
    options.lowest = -7;
    options.highest = 7;
    options.scale_group = width;
    const auto rounded = gptq_round(p.weights, kOutputs, kInputs, p.gram, scales, options, pool);
    ASSERT_TRUE(rounded.ok()) << rounded.status().message();
    const size_t shared = width == 0 ? kInputs : static_cast<size_t>(width);
    EXPECT_LT(rounded->cost, 0.7 * cost_of(p, scales, nearest(p, scales, 7, shared), shared));
    EXPECT_NEAR(rounded->cost, cost_of(p, scales, rounded->values, shared), 1e-3 * rounded->cost);
    for (const int8_t q : rounded->values) EXPECT_LE(std::abs(q), 7);
  }
}

TEST(Gptq, ZerosStayZeroAndWhatFitsTheGridStays) {
  ThreadPool pool(1);
  Problem p = problem();
  for (size_t i = 0; i < p.weights.size(); i += 3) p.weights[i] = 0;
  const std::vector<float> scales(kOutputs, 0.05F);
  const auto rounded = gptq_round(p.weights, kOutputs, kInputs, p.gram, scales, {}, pool);
  ASSERT_TRUE(rounded.ok());
  for (size_t i = 0; i < p.weights.size(); i += 3) EXPECT_EQ(rounded->values[i], 0) << i;
  std::vector<float> exact;
  for (const int8_t q : rounded->values) exact.push_back(0.05F * static_cast<float>(q));
  const auto again = gptq_round(exact, kOutputs, kInputs, p.gram, scales, {}, pool);
  EXPECT_EQ(again->values, rounded->values);
  EXPECT_NEAR(again->cost, 0, 1e-6);
}

// No inputs seen, or inputs that have nothing to do with each other: nearest it is.
TEST(Gptq, WithoutCorrelationItIsNearest) {
  ThreadPool pool(1);
  Problem p = problem();
  const std::vector<float> scales(kOutputs, 0.3F);
  std::vector<double> diagonal(kInputs * kInputs, 0.0);
  const std::vector<int8_t> want = nearest(p, scales, 127);
  EXPECT_EQ(gptq_round(p.weights, kOutputs, kInputs, diagonal, scales, {}, pool)->values, want);
  for (size_t i = 0; i < kInputs; ++i) diagonal[i * kInputs + i] = 1.0 + static_cast<double>(i);
  EXPECT_EQ(gptq_round(p.weights, kOutputs, kInputs, diagonal, scales, {}, pool)->values, want);
}

TEST(Gptq, RefusesSizesThatDoNotFit) {
  ThreadPool pool(1);
  const Problem p = problem();
  const auto rounded =
      gptq_round(p.weights, kOutputs, kInputs, p.gram, std::vector<float>(3, 1.0F), {}, pool);
  ASSERT_FALSE(rounded.ok());
  EXPECT_EQ(rounded.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(rounded.status().message().find("found 60, 144 and 3"), std::string::npos);
}

}  // namespace
}  // namespace pare
