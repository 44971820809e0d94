#include "models/contract.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "models/models.h"

namespace pare {
namespace {

using testing::HasSubstr;

// A classifier as other programs export it: float input, one image at a time.
Graph foreign(Shape input, bool softmax = false) {
  Graph g;
  g.opset = 17;
  g.inputs = {{"x", DType::kFloat32, std::move(input)}};
  g.outputs = {{"y", DType::kFloat32, {1, 4}}};
  g.initializers["w"] = Tensor(DType::kFloat32, {4, 3 * 8 * 8});
  g.nodes.push_back({.op = "Flatten", .name = "flat", .inputs = {"x"}, .outputs = {"f"}});
  g.nodes.push_back({.op = "Gemm",
                     .name = "fc",
                     .inputs = {"f", "w"},
                     .outputs = {softmax ? "s" : "y"},
                     .attributes = {{"transB", int64_t{1}}}});
  if (softmax) {
    g.nodes.push_back({.op = "Softmax", .name = "softmax", .inputs = {"s"}, .outputs = {"y"}});
  }
  return g;
}

std::vector<std::string> ops(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes) names.push_back(node.op);
  return names;
}

Graph attached(Graph graph, const ContractOptions& options) {
  Result<ImportedModel> model = attach_contract(std::move(graph), options);
  EXPECT_TRUE(model.ok()) << model.status().message();
  return model.ok() ? std::move(model->graph) : Graph();
}

std::string refusal(Graph graph, const ContractOptions& options) {
  return attach_contract(std::move(graph), options).status().message();
}

TEST(Contract, PutsThePreprocessingIntoTheGraph) {
  const Graph g = attached(
      foreign({1, 3, 8, 8}),
      {.mean = {0.5F}, .std = {0.25F, 0.5F, 1.0F}, .resize = 10, .classes = {"a", "b", "c", "d"}});
  EXPECT_EQ(g.inputs[0], (ValueInfo{"image", DType::kUInt8, {kDynamic, 3, 8, 8}}));
  EXPECT_EQ(ops(g), (std::vector<std::string>{"Cast", "Mul", "Add", "Flatten", "Gemm"}));
  // (255 / 255 - 0.5) / 0.25 = 2 for the first channel, 1 for the second, 0.5 for the third.
  const auto scale = g.initializers.at("preprocess.scale").values<float>();
  const auto shift = g.initializers.at("preprocess.shift").values<float>();
  EXPECT_NEAR(255 * scale[0] + shift[0], 2, 1e-6);
  EXPECT_NEAR(255 * scale[1] + shift[1], 1, 1e-6);
  EXPECT_NEAR(255 * scale[2] + shift[2], 0.5, 1e-6);
  const InputContract expected = {
      .channels = 3, .height = 8, .width = 8, .resize = 10, .classes = {"a", "b", "c", "d"}};
  EXPECT_EQ(g.contract, expected);
}

TEST(Contract, TurnsLayoutAndChannelsRound) {
  const Graph g = attached(foreign({kDynamic, 8, 8, 3}, true),
                           {.channels_last = true, .bgr = true, .scale = 1.0F});
  EXPECT_EQ(g.inputs[0].shape, (Shape{kDynamic, 3, 8, 8}));
  EXPECT_EQ(ops(g), (std::vector<std::string>{"Gather", "Cast", "Mul", "Add", "Transpose",
                                              "Flatten", "Gemm", "Softmax"}));
  EXPECT_TRUE(g.contract.outputs_probabilities);
  EXPECT_FALSE(g.contract.channels_last);
}

TEST(Contract, KeepsTheInputWhenAsked) {
  const Graph g =
      attached(foreign({1, 8, 8, 3}), {.channels_last = true, .keep_input = true, .mean = {0.1F}});
  EXPECT_EQ(g.inputs[0], (ValueInfo{"x", DType::kFloat32, {kDynamic, 8, 8, 3}}));
  EXPECT_TRUE(g.contract.float_input);
  EXPECT_TRUE(g.contract.channels_last);
  EXPECT_EQ(g.contract.mean, (std::vector<float>{0.1F, 0.1F, 0.1F}));
  EXPECT_EQ(g.contract.scale, 1.0F / 255.0F);
}

TEST(Contract, FixesOpenSizes) {
  const Graph g = attached(foreign({kDynamic, 3, kDynamic, kDynamic}),
                           {.scale = 1.0F, .height = 8, .width = 8});
  EXPECT_EQ(g.contract.height, 8);
  EXPECT_THAT(refusal(foreign({kDynamic, 3, kDynamic, 8}), {.scale = 1.0F}),
              HasSubstr("input's height open"));
  EXPECT_THAT(refusal(foreign({1, 3, 8, 8}), {.scale = 1.0F, .height = 9, .width = 8}),
              HasSubstr("has height 8, not 9"));
}

TEST(Contract, LeavesOurOwnModelsAlone) {
  const Graph own = *build_model("vit-seed", {.zero_weights = true});
  const Graph g = attached(own, {.resize = 40});
  EXPECT_EQ(ops(g), ops(own));
  EXPECT_EQ(g.contract.resize, 40);
  EXPECT_THAT(refusal(own, {.mean = {0.5F}}), HasSubstr("its scaling is inside"));
}

TEST(Contract, GuessesNothing) {
  EXPECT_THAT(refusal(foreign({1, 3, 8, 8}), {}), HasSubstr("say how pixels become them"));
  EXPECT_THAT(refusal(foreign({1, 3, 8, 8}), {.mean = {1, 2}}), HasSubstr("2 values for 3"));
  EXPECT_THAT(refusal(foreign({1, 3, 8, 8}), {.std = {0}}), HasSubstr("must be positive"));
  EXPECT_THAT(refusal(foreign({1, 3, 8, 8}), {.scale = 0.0F}), HasSubstr("scale 0"));
  EXPECT_THAT(refusal(foreign({1, 3, 8, 8}), {.mean = {NAN}}), HasSubstr("mean nan"));
  EXPECT_THAT(refusal(foreign({1, 8, 8, 3}), {.scale = 1.0F}),
              HasSubstr("8 channels in layout nchw"));
  EXPECT_THAT(refusal(foreign({1, 3, 8, 8}), {.scale = 1.0F, .classes = {"a"}}),
              HasSubstr("1 class names for a model of 4"));
  Graph two = foreign({1, 3, 8, 8});
  two.outputs.push_back({"f", DType::kFloat32, {1, 192}});
  EXPECT_THAT(refusal(two, {.scale = 1.0F}), HasSubstr("2 outputs (y, f)"));
  EXPECT_THAT(refusal(two, {.scale = 1.0F, .output = "z"}), HasSubstr("no output 'z'"));
  EXPECT_EQ(attached(two, {.scale = 1.0F, .output = "y"}).outputs.size(), 1U);
}

}  // namespace
}  // namespace pare
