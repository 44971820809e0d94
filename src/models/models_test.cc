#include "models/models.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace pare {
namespace {

// What PyTorch's `sum(p.numel() for p in model.parameters())` counts: not the running statistics,
// and none of the constants that the graph's own arithmetic needs.
int64_t trainable(const Graph& graph) {
  int64_t count = 0;
  for (const auto& [name, tensor] : graph.initializers) {
    const bool statistics = name.find(".running_") != std::string::npos;
    if (!statistics && is_floating(tensor.type()) && tensor.rank() > 0 &&
        !name.starts_with("preprocess.")) {
      count += tensor.size();
    }
  }
  return count;
}

Graph build(const std::string& name, ModelOptions options) {
  options.zero_weights = true;
  Result<Graph> graph = build_model(name, options);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  return graph.ok() ? *std::move(graph) : Graph();
}

// The table for the seed's two nets; torchvision's and timm's documented counts for the
// others (alexnet, resnet18, vit_*_patch16_224); Zagoruyko's 11.0 M for WRN-16-8.
TEST(Models, HaveThePublishedParameterCounts) {
  EXPECT_EQ(trainable(build("alexnet", {})), 23'490'378);
  EXPECT_EQ(trainable(build("vit-seed", {})), 6'061'578);
  EXPECT_EQ(trainable(build("alexnet-imagenet", {.classes = 1000})), 61'100'840);
  EXPECT_EQ(trainable(build("vit-ti/16", {.classes = 1000})), 5'717'416);
  EXPECT_EQ(trainable(build("vit-s/16", {.classes = 1000})), 22'050'664);
  EXPECT_EQ(trainable(build("vit-b/16", {.classes = 1000})), 86'567'656);
  EXPECT_EQ(
      trainable(build("resnet18", {.classes = 1000, .image_size = 224, .training_form = true})),
      11'689'512);
  EXPECT_EQ(trainable(build("resnet18", {.training_form = true})), 11'173'962);
  EXPECT_EQ(trainable(build("wrn-16-8", {})), 10'961'370);
  // airbench94: convolutions 1,967,616, whitening 312, scores 2,560; six norms' 1,152 shifts stand
  // as biases.
  EXPECT_EQ(trainable(build("speedrun", {})), 1'967'616 + 312 + 2'560 + 1'152);
}

TEST(Models, AreSoundGraphs) {
  for (const ModelEntry& entry : model_entries()) {
    // These two differ from vit-b/16 in their sizes alone, and take gigabytes.
    if (entry.name == "vit-l/16" || entry.name == "vit-h/14") continue;
    for (const bool training_form : {false, true}) {
      const Graph graph = build(entry.name, {.training_form = training_form});
      const Status status = check_graph(graph);
      EXPECT_TRUE(status.ok()) << entry.name << ": " << status.message();
      EXPECT_EQ(graph.parameter_count(), trainable(graph)) << entry.name;
    }
  }
}

TEST(Models, AlexnetHasTheLayersOfTheTable) {
  const Graph graph = build("alexnet", {});
  const std::map<std::string, int64_t> expected = {
      {"conv1", 23'296},  {"conv2", 307'392}, {"conv3", 663'936},  {"conv4", 884'992},
      {"conv5", 590'080}, {"fc6", 4'198'400}, {"fc7", 16'781'312}, {"fc8", 40'970}};
  for (const auto& [layer, count] : expected) {
    EXPECT_EQ(graph.initializers.at(layer + ".weight").size() +
                  graph.initializers.at(layer + ".bias").size(),
              count)
        << layer;
  }
  for (const Node& node : graph.nodes) EXPECT_NE(node.op, "BatchNormalization");
}

TEST(Models, TrainingFormHasABatchNormBehindEveryLayerButTheLast) {
  const Graph graph = build("alexnet", {.training_form = true});
  int norms = 0;
  for (const Node& node : graph.nodes) norms += node.op == "BatchNormalization" ? 1 : 0;
  EXPECT_EQ(norms, 7);
  EXPECT_EQ(graph.nodes.back().op, "Gemm");
  EXPECT_EQ(graph.nodes.back().outputs, std::vector<std::string>{"logits"});
}

TEST(Models, NormaliseInTheirFirstNodes) {
  const Graph small = build("alexnet", {});
  EXPECT_EQ(small.inputs[0], (ValueInfo{"input", DType::kUInt8, {kDynamic, 3, 32, 32}}));
  EXPECT_EQ(small.nodes[0].op, "Cast");
  const float scale = small.initializers.at("preprocess.scale").values<float>()[1];
  const float shift = small.initializers.at("preprocess.shift").values<float>()[1];
  EXPECT_NEAR(200.0F * scale + shift, (200.0 / 255 - 0.4822) / 0.2435, 1e-6);
  const Graph large = build("vit-ti/16", {});
  const float red = large.initializers.at("preprocess.shift").values<float>()[0];
  EXPECT_NEAR(red, -0.485 / 0.229, 1e-6);
  const Graph one = build("alexnet", {.mean = {0.5F}, .std = {0.25F}});
  for (const float value : one.initializers.at("preprocess.shift").values<float>()) {
    EXPECT_FLOAT_EQ(value, -2.0F);
  }
}

TEST(Models, WeightsDependOnTheSeedAndTheNameAlone) {
  const Graph a = *build_model("vit-seed", {.seed = 7});
  const Graph b = *build_model("vit-seed", {.seed = 7});
  const Graph c = *build_model("vit-seed", {.seed = 8});
  const std::string name = "blocks.3.attn.qkv.weight";
  EXPECT_EQ(to_float_vector(a.initializers.at(name)), to_float_vector(b.initializers.at(name)));
  EXPECT_NE(to_float_vector(a.initializers.at(name)), to_float_vector(c.initializers.at(name)));
  EXPECT_NE(to_float_vector(a.initializers.at(name)),
            to_float_vector(a.initializers.at("blocks.4.attn.qkv.weight")));
}

double deviation(const Tensor& tensor) {
  double sum = 0;
  double squares = 0;
  for (const float x : tensor.values<float>()) {
    sum += x;
    squares += static_cast<double>(x) * x;
  }
  const auto n = static_cast<double>(tensor.size());
  return std::sqrt(squares / n - sum / n * (sum / n));
}

// Standard deviations by the papers' formulas; a sample of n elements is off by about 1/sqrt(2n).
TEST(Models, WeightsStartWithThePapersDeviation) {
  const Graph alexnet = *build_model("alexnet", {});
  EXPECT_NEAR(deviation(alexnet.initializers.at("fc6.weight")) / std::sqrt(2.0 / 1024), 1, 0.01);
  EXPECT_NEAR(deviation(alexnet.initializers.at("conv2.weight")) / std::sqrt(2.0 / 1600), 1, 0.01);
  const Graph vit = *build_model("vit-seed", {});
  EXPECT_NEAR(
      deviation(vit.initializers.at("blocks.0.attn.qkv.weight")) / std::sqrt(2.0 / (64 + 256)), 1,
      0.02);
  EXPECT_NEAR(deviation(vit.initializers.at("patch_embed.weight")) / std::sqrt(1.0 / 108), 1, 0.05);
  EXPECT_NEAR(deviation(vit.initializers.at("pos_embed")) / 0.02, 1, 0.1);
}

TEST(Models, AnUnknownNameListsTheNearestFirst) {
  const Result<Graph> graph = build_model("alexnet-imagnet", {});
  ASSERT_FALSE(graph.ok());
  EXPECT_EQ(graph.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(graph.status().message(),
              testing::HasSubstr("'alexnet-imagnet'; there are alexnet-imagenet, alexnet"));
}

TEST(Models, RefuseImagesThatAreTooSmallAndWrongOptions) {
  const auto message = [](const std::string& name, const ModelOptions& options) {
    return build_model(name, options).status().message();
  };
  EXPECT_THAT(message("alexnet", {.image_size = 8, .zero_weights = true}),
              testing::HasSubstr("'conv1': a 11x11 kernel does not fit its input of 3x8x8"));
  EXPECT_THAT(message("alexnet", {.classes = 0}), testing::HasSubstr("0 classes"));
  EXPECT_THAT(message("vit-seed", {.std = {1, 0, 1}, .zero_weights = true}),
              testing::HasSubstr("standard deviation 0"));
  EXPECT_THAT(message("vit-seed", {.mean = {1, 2}, .zero_weights = true}),
              testing::HasSubstr("2 means: expected one, or 3"));
}

}  // namespace
}  // namespace pare
