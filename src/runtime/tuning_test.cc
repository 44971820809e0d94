#include "runtime/tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "pare/session.h"

#include "base/cpu_features.h"
#include "graph/graph.h"

namespace pare {
namespace {

using testing::Contains;
using testing::HasSubstr;

// Eight bytes of an image, a dense layer of 32 with one weight of ten left, and one of 4 scores.
Graph pruned_net() {
  Graph g;
  g.name = "pruned";
  g.inputs = {{"image", DType::kUInt8, {kDynamic, 2, 2, 2}}};
  g.outputs = {{"scores", DType::kFloat32, {kDynamic, 4}}};
  g.contract.channels = 2;
  g.contract.height = g.contract.width = 2;
  std::vector<float> few(32 * 8, 0.0F);
  for (size_t i = 0; i < few.size(); i += 10) few[i] = 0.25F * static_cast<float>(i % 7 + 1);
  g.initializers["few"] = Tensor::from_values<float>({8, 32}, few);
  g.initializers["all"] = Tensor::from_values<float>({32, 4}, std::vector<float>(128, 0.5F));
  g.nodes = {{"Cast", "", "cast", {"image"}, {"x"}, {{"to", int64_t{1}}}},
             {"Flatten", "", "flatten", {"x"}, {"flat"}, {}},
             {"MatMul", "", "first", {"flat", "few"}, {"hidden"}, {}},
             {"MatMul", "", "second", {"hidden", "all"}, {"scores"}, {}}};
  return g;
}

LayerPlan layer_of(const Graph& graph, const std::string& name, int64_t batch = 1,
                   const SessionOptions& options = {.threads = 1}) {
  auto session = Session::from_graph(graph, options);
  EXPECT_TRUE(session.ok()) << session.status().message();
  const auto plan = session->plan(batch);
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  const auto found = std::ranges::find_if(
      *plan, [&name](const LayerPlan& layer) { return layer.name == name && layer.macs > 0; });
  EXPECT_NE(found, plan->end());
  return *found;
}

std::vector<float> scores_of(const Graph& graph, int64_t images) {
  auto session = Session::from_graph(graph, {.threads = 2});
  std::vector<uint8_t> pixels(static_cast<size_t>(8 * images));
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(37 * i + 11);
  std::vector<float> scores(static_cast<size_t>(4 * images));
  EXPECT_TRUE(session->run(pixels, images, scores).ok());
  return scores;
}

TEST(Tuning, IsKeptInTheMetadata) {
  Graph graph = pruned_net();
  EXPECT_TRUE(stored_tuning(graph).empty());
  const KernelTuning tuning = {{"first", "gemm_a"}, {"a layer\twith a tab", "gemm_b"}};
  store_tuning(tuning, graph);
  EXPECT_EQ(stored_tuning(graph), tuning);
  // Another machine's counts for nothing.
  std::string& text = graph.metadata.at("tuned kernels");
  text = "another processor" + text;
  EXPECT_TRUE(stored_tuning(graph).empty());
  text = "no line";
  EXPECT_TRUE(stored_tuning(graph).empty());
  store_tuning({}, graph);
  EXPECT_FALSE(graph.metadata.contains("tuned kernels"));
}

TEST(Tuning, ThePlannerTakesItAndAnswersStay) {
  if (!detect_cpu().features.avx2) GTEST_SKIP() << "one kernel a layer without avx2";
  Graph graph = pruned_net();
  const LayerPlan usual = layer_of(graph, "first");
  EXPECT_THAT(usual.kernels, Contains(usual.kernel));
  ASSERT_GT(usual.kernels.size(), 1U);
  const std::string other = usual.kernels.back();
  ASSERT_NE(other, usual.kernel);
  Graph tuned = graph;
  store_tuning({{"first", other}}, tuned);
  for (const int64_t batch : {1, 3, 64}) {
    const LayerPlan layer = layer_of(tuned, "first", batch);
    EXPECT_EQ(layer.kernel, other);
    EXPECT_THAT(layer.reason, HasSubstr("measured to be the fastest"));
    EXPECT_EQ(layer_of(tuned, "second", batch).kernel, layer_of(graph, "second", batch).kernel);
    EXPECT_EQ(scores_of(tuned, batch), scores_of(graph, batch));
  }
  // Not where another choice was asked for, nor a kernel that does not take the problem.
  EXPECT_NE(layer_of(tuned, "first", 1, {.threads = 1, .cpu_level = "baseline"}).kernel, other);
  for (const char* wrong : {"gemm_u8s8_4x16_avx2", "no_such_kernel"}) {
    store_tuning({{"first", wrong}}, tuned);
    EXPECT_EQ(layer_of(tuned, "first").kernel, usual.kernel);
  }
}

}  // namespace
}  // namespace pare
