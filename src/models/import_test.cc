#include "models/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "models/models.h"

namespace pare {
namespace {

using testing::HasSubstr;

// Elements 0, 1, 2, … plus something of the tensor's own: so that a wrong place or a missing
// transposition shows.
Tensor counted(Shape shape, float first) {
  Tensor t(DType::kFloat32, std::move(shape));
  float value = first;
  for (float& v : t.mutable_values<float>()) v = value++;
  return t;
}

// The weights of a model as PyTorch would name and lay them out, each one recognisable.
NamedTensors pytorch_weights(const std::string& model, const ModelOptions& options) {
  const Result<Graph> graph = build_model(model, options);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  NamedTensors weights;
  for (const auto& [name, tensor] : graph->initializers) {
    if (!is_floating(tensor.type()) || tensor.rank() == 0 || name.starts_with("preprocess."))
      continue;
    weights[name] = counted(tensor.shape(), static_cast<float>(weights.size()));
  }
  for (const Node& node : graph->nodes) {
    if (node.op != "MatMul" || !weights.contains(node.inputs[1])) continue;
    Tensor& w = weights[node.inputs[1]];
    w = w.reshaped({w.dim(1), w.dim(0)});
  }
  return weights;
}

ImportedModel imported(const std::string& model, const NamedTensors& weights,
                       const ImportOptions& options = {}) {
  Result<ImportedModel> result = import_weights(model, weights, options);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? *std::move(result) : ImportedModel();
}

const ModelOptions kZero = {.zero_weights = true};

TEST(Import, PutsLinearWeightsTheRightWayRound) {
  const NamedTensors weights = pytorch_weights("vit-seed", kZero);
  const Graph graph = imported("vit-seed", weights).graph;
  // Head layers are Gemm with [out, in]: as they come. Token layers are MatMul with [in, out].
  EXPECT_EQ(to_float_vector(graph.initializers.at("head.fc1.weight")),
            to_float_vector(weights.at("head.fc1.weight")));
  const Tensor& qkv = graph.initializers.at("blocks.2.attn.qkv.weight");
  const Tensor& given = weights.at("blocks.2.attn.qkv.weight");
  ASSERT_EQ(qkv.shape(), (Shape{64, 768}));
  ASSERT_EQ(given.shape(), (Shape{768, 64}));
  EXPECT_EQ(qkv.values<float>()[3 * 768 + 700], given.values<float>()[700 * 64 + 3]);
  EXPECT_TRUE(check_graph(graph).ok());
}

TEST(Import, TakesHalfPrecisionAndTheClassesOfTheWeights) {
  NamedTensors weights = pytorch_weights("alexnet", {.classes = 7, .zero_weights = true});
  weights["fc8.weight"] = *convert_floating(weights["fc8.weight"], DType::kFloat16);
  const Graph graph = imported("alexnet", weights).graph;
  EXPECT_EQ(graph.outputs[0].shape, (Shape{kDynamic, 7}));
  EXPECT_EQ(graph.initializers.at("fc8.weight").type(), DType::kFloat32);
  EXPECT_EQ(to_float_vector(graph.initializers.at("fc8.weight")),
            to_float_vector(weights.at("fc8.weight")));
}

TEST(Import, KnowsTimmsNames) {
  NamedTensors weights = pytorch_weights("vit-ti/16", {.classes = 5, .zero_weights = true});
  for (const char* part : {"weight", "bias"}) {
    auto node = weights.extract(std::string("patch_embed.") + part);
    node.key() = std::string("patch_embed.proj.") + part;
    weights.insert(std::move(node));
  }
  const Graph graph = imported("vit-ti/16", weights).graph;
  EXPECT_EQ(to_float_vector(graph.initializers.at("patch_embed.weight")),
            to_float_vector(weights.at("patch_embed.proj.weight")));
}

// transformers' ViTForImageClassification: the names of one block and the ends, written out.
TEST(Import, KnowsHuggingFacesNames) {
  const NamedTensors own = pytorch_weights("vit-ti/16", {.classes = 5, .zero_weights = true});
  NamedTensors weights;
  const auto give = [&](const std::string& ours, const std::string& theirs) {
    for (const char* part : {".weight", ".bias"}) weights[theirs + part] = own.at(ours + part);
  };
  weights["vit.embeddings.cls_token"] = own.at("cls_token");
  weights["vit.embeddings.position_embeddings"] = own.at("pos_embed");
  give("patch_embed", "vit.embeddings.patch_embeddings.projection");
  give("norm", "vit.layernorm");
  give("head", "classifier");
  for (int i = 0; i < 12; ++i) {
    const std::string ours = "blocks." + std::to_string(i);
    const std::string theirs = "vit.encoder.layer." + std::to_string(i);
    give(ours + ".norm1", theirs + ".layernorm_before");
    give(ours + ".norm2", theirs + ".layernorm_after");
    give(ours + ".attn.proj", theirs + ".attention.output.dense");
    give(ours + ".mlp.fc1", theirs + ".intermediate.dense");
    give(ours + ".mlp.fc2", theirs + ".output.dense");
    float first = 0;
    for (const char* part : {"query", "key", "value"}) {
      const std::string name = theirs + ".attention.attention." + part;
      weights[name + ".weight"] = counted({192, 192}, first);
      weights[name + ".bias"] = counted({192}, first);
      first += 1000;
    }
  }
  const Graph graph = imported("vit-ti/16", weights).graph;
  const auto bias = graph.initializers.at("blocks.11.attn.qkv.bias").values<float>();
  EXPECT_EQ(bias[0], 0);
  EXPECT_EQ(bias[192 + 5], 1005);
  EXPECT_EQ(bias[384 + 191], 2191);
  // Row 384 + 7, column 2 of the joined [576, 192]: the value's row 7.
  EXPECT_EQ(graph.initializers.at("blocks.0.attn.qkv.weight").values<float>()[2 * 576 + 384 + 7],
            2000 + 7 * 192 + 2);
  for (const Node& node : graph.nodes) {
    if (node.op == "LayerNormalization") {
      EXPECT_EQ(node.float_attribute("epsilon", 0), 1e-12F);
    }
  }
  NamedTensors broken = weights;
  broken.erase("vit.encoder.layer.3.attention.attention.key.bias");
  EXPECT_THAT(import_weights("vit-ti/16", broken, {}).status().message(),
              HasSubstr("'blocks.3.attn.k.bias' is missing"));
}

TEST(Import, NamesWhatIsMissingLeftOverAndMisshaped) {
  NamedTensors weights = pytorch_weights("vit-seed", kZero);
  weights.erase("norm.bias");
  weights["extra"] = counted({2}, 0);
  weights["blocks.1.norm1.weight"] = counted({63}, 0);
  weights["blocks.2.norm1.weight"] = Tensor(DType::kInt8, {64});
  const Status status = import_weights("vit-seed", weights, {}).status();
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_THAT(status.message(), HasSubstr("1 missing: norm.bias"));
  EXPECT_THAT(status.message(), HasSubstr("blocks.1.norm1.weight (expected 64, found 63)"));
  EXPECT_THAT(status.message(),
              HasSubstr("blocks.2.norm1.weight (expected floating numbers, found int8)"));
  EXPECT_THAT(status.message(), HasSubstr("1 left over: extra"));
  weights = pytorch_weights("vit-seed", kZero);
  weights["extra"] = counted({2}, 0);
  EXPECT_FALSE(import_weights("vit-seed", weights, {}).ok());
  EXPECT_THAT(imported("vit-seed", weights, {.allow_unused = true}).notes,
              testing::ElementsAre("tensors 1 left over: extra"));
}

TEST(Import, ALinearWeightTheWrongWayRoundIsRefused) {
  NamedTensors weights = pytorch_weights("vit-seed", kZero);
  weights["blocks.0.mlp.fc1.weight"] = counted({64, 128}, 0);
  EXPECT_THAT(import_weights("vit-seed", weights, {}).status().message(),
              HasSubstr("blocks.0.mlp.fc1.weight (expected 128x64, found 64x128)"));
}

TEST(Import, ResamplesPositionsAndKeepsTheClassToken) {
  const NamedTensors weights = pytorch_weights("vit-ti/16", {.classes = 5, .zero_weights = true});
  const ImportedModel larger =
      imported("vit-ti/16", weights, {.build = {.classes = 0, .image_size = 384}});
  const Tensor& positions = larger.graph.initializers.at("pos_embed");
  ASSERT_EQ(positions.shape(), (Shape{1, 1 + 24 * 24, 192}));
  const auto old = to_float_vector(weights.at("pos_embed"));
  const auto now = to_float_vector(positions);
  EXPECT_EQ(std::vector<float>(now.begin(), now.begin() + 192),
            std::vector<float>(old.begin(), old.begin() + 192));
  EXPECT_THAT(larger.notes, testing::ElementsAre(HasSubstr("from 14×14 to 24×24 patches")));
  // The weights' own size is taken when none is asked for.
  const NamedTensors wide =
      pytorch_weights("vit-ti/16", {.classes = 5, .image_size = 256, .zero_weights = true});
  EXPECT_EQ(imported("vit-ti/16", wide).graph.inputs[0].shape, (Shape{kDynamic, 3, 256, 256}));
}

// torch.nn.functional.interpolate(grid, size, mode="bicubic", antialias=True) in float64, PyTorch
// 2.11, for grid[i][j] = (7 i² + 3 i j + 5 j + 1) mod 11: larger and smaller.
TEST(Import, ResamplesAsPyTorch) {
  const auto grid = [](int rows, int columns) {
    std::vector<float> g;
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < columns; ++j) {
        g.push_back(static_cast<float>((7 * i * i + 3 * j * i + j * 5 + 1) % 11));
      }
    }
    return g;
  };
  const std::vector<float> larger = {
      0.103029F, 3.475028F,  5.595038F, 0.387142F, 2.009989F, 4.936693F, 3.364493F, 4.768218F,
      4.992969F, 0.742209F,  3.572432F, 7.3098F,   8.197368F, 6.764706F, 4.372685F, 1.863426F,
      6.058824F, 10.526316F, 7.756972F, 7.054434F, 6.027588F, 5.259829F, 6.838455F, 8.46956F,
      6.909633F, 7.017758F,  7.198288F, 7.387666F, 7.071032F, 6.733863F};
  EXPECT_THAT(resample_grid(grid(3, 4), 3, 4, 1, 5, 6),
              testing::Pointwise(testing::FloatNear(2e-6F), larger));
  const std::vector<float> smaller = {5.107775F, 6.108226F, 6.187724F,
                                      5.653755F, 4.031442F, 4.493213F};
  EXPECT_THAT(resample_grid(grid(7, 7), 7, 7, 1, 3, 2),
              testing::Pointwise(testing::FloatNear(2e-6F), smaller));
  // Channels are independent of each other.
  std::vector<float> two;
  for (const float v : grid(3, 4)) {
    two.push_back(v);
    two.push_back(-v);
  }
  const std::vector<float> both = resample_grid(two, 3, 4, 2, 5, 6);
  EXPECT_NEAR(both[2 * 17], larger[17], 1e-5);
  EXPECT_NEAR(both[2 * 17 + 1], -larger[17], 1e-5);
}

}  // namespace
}  // namespace pare
