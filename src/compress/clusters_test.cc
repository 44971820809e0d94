#include "compress/clusters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/rng.h"

namespace pare {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Clusters, TwoHeapsByHand) {
  const std::vector<float> values = {10, 0, 11, 2, 12, 1};
  const Clusters clusters = find_clusters(values, {}, 2);
  EXPECT_THAT(clusters.centres, ElementsAre(1, 11));
  EXPECT_THAT(clusters.of, ElementsAre(1, 0, 1, 0, 1, 0));
}

// The mean of 0 and 3, where 3 counts twice, and that of 9 and 10 with 1 and 3.
TEST(Clusters, ImportanceDrawsTheCentre) {
  const std::vector<float> values = {0, 3, 9, 10};
  const std::vector<double> importance = {1, 2, 1, 3};
  const Clusters clusters = find_clusters(values, importance, 2);
  EXPECT_THAT(clusters.centres, ElementsAre(2, 9.75F));
  EXPECT_THAT(clusters.of, ElementsAre(0, 0, 1, 1));
}

TEST(Clusters, OfFewValuesEachIsACentre) {
  const std::vector<float> values = {-3, 4, 4, -3, 0.5F};
  const Clusters clusters = find_clusters(values, {}, 32);
  EXPECT_THAT(clusters.centres, ElementsAre(-3, 0.5F, 4));
  EXPECT_THAT(clusters.of, ElementsAre(0, 2, 2, 0, 1));
}

TEST(Clusters, NothingOrOneValueOrNoImportance) {
  EXPECT_THAT(find_clusters({}, {}, 4).centres, IsEmpty());
  const std::vector<float> one = {2.5F};
  EXPECT_THAT(find_clusters(one, {}, 1).centres, ElementsAre(2.5F));
  const std::vector<float> values = {1, 5};
  const std::vector<double> none = {0, 0};
  EXPECT_THAT(find_clusters(values, none, 1).centres, ElementsAre(3));
}

double error_of(const std::vector<float>& values, const std::vector<double>& importance,
                const Clusters& clusters) {
  double error = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double d =
        static_cast<double>(values[i]) - static_cast<double>(clusters.centres[clusters.of[i]]);
    error += importance[i] * d * d;
  }
  return error;
}

// The least error there is, by trying every partition of the sorted values (dynamic programming).
double least_error(const std::vector<float>& values, const std::vector<double>& importance,
                   int count) {
  const size_t n = values.size();
  std::vector<size_t> order(n);
  for (size_t i = 0; i < n; ++i) order[i] = i;
  std::ranges::sort(order, {}, [&](size_t i) { return values[i]; });
  const auto cost = [&](size_t from, size_t to) {
    double weight = 0;
    double mean = 0;
    for (size_t i = from; i < to; ++i) {
      weight += importance[order[i]];
      mean += importance[order[i]] * static_cast<double>(values[order[i]]);
    }
    mean /= weight;
    double error = 0;
    for (size_t i = from; i < to; ++i) {
      const double d = static_cast<double>(values[order[i]]) - mean;
      error += importance[order[i]] * d * d;
    }
    return error;
  };
  std::vector<double> best(n + 1, std::numeric_limits<double>::infinity());
  best[0] = 0;
  for (int c = 0; c < count; ++c) {
    std::vector<double> next = best;
    for (size_t to = 1; to <= n; ++to)
      for (size_t from = 0; from < to; ++from)
        next[to] = std::min(next[to], best[from] + cost(from, to));
    best = next;
  }
  return best[n];
}

// Of 80 values in 4,096 bins the first partition is nearly always the best, and no step leaves it.
TEST(Clusters, NearTheBestPartition) {
  Rng rng(3, RngPurpose::kTest);
  for (const int count : {2, 4, 8}) {
    std::vector<float> values;
    std::vector<double> importance;
    for (int i = 0; i < 80; ++i) {
      values.push_back(rng.normal());
      importance.push_back(static_cast<double>(rng.uniform(0.1F, 2)));
    }
    const Clusters clusters = find_clusters(values, importance, count);
    const double least = least_error(values, importance, count);
    const double got = error_of(values, importance, clusters);
    EXPECT_GE(got, 0.9999 * least) << count;
    EXPECT_LE(got, 1.02 * least) << count;
    for (size_t i = 0; i < values.size(); ++i)
      for (const float centre : clusters.centres)
        EXPECT_LE(std::fabs(values[i] - clusters.centres[clusters.of[i]]),
                  std::fabs(values[i] - centre) + 1e-6F);
  }
}

}  // namespace
}  // namespace pare
