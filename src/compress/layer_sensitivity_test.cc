#include "compress/layer_sensitivity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "compress/calibrate.h"
#include "compress/toy.h"

namespace pare {
namespace {

using ::testing::HasSubstr;

RecipeStep step_of(const std::string& recipe) { return parse_recipe(recipe)->steps[0]; }

TEST(LayerSensitivities, OneLayerAtATime) {
  CompressContext context = toy::context(160);
  context.sensitivity_images = 90;
  Graph graph = toy::net();
  // fc1's rows with an outlier each: plain rounding to 4 bits leaves little of the others.
  auto weights = graph.initializers["fc1.weight"].mutable_values<float>();
  for (size_t o = 0; o < 32; ++o) weights[o * 144 + o] = 6.0F;
  const auto result = measure_layer_sensitivities(graph, step_of("int8,weights=4"), context);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->images, 90);
  ASSERT_EQ(result->layers.size(), 4U);
  EXPECT_EQ(result->layers[2].layer, "fc1");
  EXPECT_EQ(result->layers[2].weights, 32 * 144);
  for (const size_t other : {0U, 1U, 3U})
    EXPECT_GT(result->layers[2].divergence, result->layers[other].divergence);
  // The same by hand: only fc1 quantised, on the same images.
  const auto drawn = draw_images(context);
  ASSERT_TRUE(drawn.ok());
  const Compressed alone = toy::compressed(graph, "int8,weights=4,skip=conv1;conv2;fc2", context);
  const auto before = forward(graph, *drawn->sensitivity, {});
  const auto after = forward(alone.graph, *drawn->sensitivity, {});
  const auto answer = [](const Tensor& logits, int64_t image) {
    const auto row = logits.values<float>().subspan(static_cast<size_t>(image) * 4, 4);
    return std::max_element(row.begin(), row.end()) - row.begin();
  };
  int64_t right_before = 0;
  int64_t right_after = 0;
  int64_t flips = 0;
  for (int64_t i = 0; i < 90; ++i) {
    right_before += answer(*before, i) == drawn->sensitivity->label(i) ? 1 : 0;
    right_after += answer(*after, i) == drawn->sensitivity->label(i) ? 1 : 0;
    flips += answer(*before, i) != answer(*after, i) ? 1 : 0;
  }
  const QuantisationLoss& fc1 = result->layers[2];
  EXPECT_NEAR(result->top1, static_cast<double>(right_before) / 90, 1e-9);
  EXPECT_NEAR(fc1.drop, static_cast<double>(right_before - right_after) / 90, 1e-9);
  EXPECT_EQ(fc1.flips, flips);
  ASSERT_TRUE(fc1.output_snr_db.has_value());
  EXPECT_EQ(*fc1.output_snr_db, alone.steps[0].layers.at(0)["output_snr_db"].get<double>());
  EXPECT_LE(fc1.drop_interval.low, fc1.drop);
  EXPECT_GE(fc1.drop_interval.high, fc1.drop);
  EXPECT_EQ(result->all.weights, 8 * 27 + 16 * 72 + 32 * 144 + 32 * 4);
}

TEST(LayerSensitivities, StepsThatSkipNoLayersAreRefused) {
  const auto refused = measure_layer_sensitivities(toy::net(), step_of("fp16"), toy::context());
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.status().message(), HasSubstr("'fp16' quantises no layers"));
  const Compressed int8 = toy::compressed(toy::net(), "int8");
  const auto again = measure_layer_sensitivities(int8.graph, step_of("int8"), toy::context());
  ASSERT_FALSE(again.ok());
  EXPECT_THAT(again.status().message(), HasSubstr("quantised already"));
}

}  // namespace
}  // namespace pare
