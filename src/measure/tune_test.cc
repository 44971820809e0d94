#include "measure/tune.h"

#include <gtest/gtest.h>

#include <set>

#include "measure/toy.h"

namespace pare {
namespace {

using namespace measure_toy;  // NOLINT(google-build-using-namespace): this room's tests

TEST(Tune, JudgesEveryLayerThatHasAChoice) {
  // A diagonal matrix: five weights of six are zero.
  const Graph graph = pixel_model();
  const auto data = many_images(10);
  Session session = session_of(graph);
  const auto plan = session.plan(1);
  std::set<std::string> with_choice;
  for (const LayerPlan& layer : *plan) {
    if (layer.kernels.size() > 1) with_choice.insert(layer.name);
  }
  const auto result = tune_kernels(graph, {.threads = 1}, *data, 1, 0);
  ASSERT_TRUE(result.ok()) << result.status().message();
  ASSERT_EQ(result->layers.size(), with_choice.size());
  for (const TunedLayer& layer : result->layers) {
    EXPECT_TRUE(with_choice.contains(layer.name));
    ASSERT_GT(layer.kernels.size(), 1U);
    double least = layer.kernels[0].second;
    for (const auto& [kernel, us] : layer.kernels) {
      EXPECT_GT(us, 0);
      if (kernel == layer.fastest) least = us;
    }
    for (const auto& [kernel, us] : layer.kernels) EXPECT_GE(us, 0.97 * least);
    if (result->tuning.contains(layer.name)) {
      EXPECT_EQ(result->tuning.at(layer.name), layer.fastest);
      EXPECT_NE(layer.fastest, layer.kernels[0].first);
    }
  }
  EXPECT_LE(result->tuning.size(), result->layers.size());
  EXPECT_GT(result->before_us, 0);
  EXPECT_TRUE(result->tuning.empty() || result->after_us < result->before_us);
}

TEST(Tune, StartsFromThePlannersOwnChoice) {
  Graph graph = pixel_model();
  const auto plain = tune_kernels(graph, {.threads = 1}, *many_images(10), 1, 0);
  ASSERT_TRUE(plain.ok());
  if (plain->layers.empty()) GTEST_SKIP() << "one kernel a layer on this processor";
  const TunedLayer& layer = plain->layers[0];
  store_tuning({{layer.name, layer.kernels.back().first}}, graph);
  const auto again = tune_kernels(graph, {.threads = 1}, *many_images(10), 1, 0);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->layers[0].kernels[0].first, layer.kernels[0].first);
}

}  // namespace
}  // namespace pare
