// What of a graph a GPU runs at once: found by looking at the graph alone, so tested everywhere.

#include "train/gpu_chains.h"

#include <gtest/gtest.h>

#include "models/models.h"
#include "train/tiny_run.h"

namespace pare {
namespace {

template <typename Chain>
std::vector<Chain> chains_of(const Graph& graph) {
  std::vector<Chain> out;
  for (const GpuChain& chain : find_gpu_chains(graph)) {
    if (const auto* found = std::get_if<Chain>(&chain)) out.push_back(*found);
  }
  return out;
}

const std::string& op_of(const Graph& graph, int node) {
  return graph.nodes[static_cast<size_t>(node)].op;
}

TEST(GpuChains, AlexNetsBlocksAreOneEach) {
  const Graph graph = build_model("alexnet", {.training_form = true}).value();
  const auto chains = chains_of<NormChain>(graph);
  ASSERT_EQ(chains.size(), 7U);
  const std::vector<std::pair<int, int>> pools = {{3, 2}, {2, 2}, {0, 0}, {0, 0},
                                                  {2, 2}, {0, 0}, {0, 0}};
  for (size_t i = 0; i < chains.size(); ++i) {
    const NormChain& chain = chains[i];
    EXPECT_EQ(op_of(graph, chain.product), i < 5 ? "Conv" : "Gemm");
    EXPECT_EQ(op_of(graph, chain.relu), "Relu");
    EXPECT_EQ(chain.pool >= 0, pools[i].first > 0) << i;
    EXPECT_EQ(std::pair(chain.window, chain.stride), pools[i]) << i;
  }
}

TEST(GpuChains, AValueThatOthersReadEndsAChain) {
  Graph graph = tiny_graph();
  ASSERT_EQ(chains_of<NormChain>(graph).size(), 2U);
  EXPECT_GE(chains_of<NormChain>(graph)[1].pool, 0);
  graph.outputs.push_back({"relu2", DType::kFloat32, {kDynamic, 6, 8, 8}});
  EXPECT_EQ(chains_of<NormChain>(graph)[1].pool, -1);
  EXPECT_GE(chains_of<NormChain>(graph)[1].relu, 0);
  graph.outputs.push_back({"conv1", DType::kFloat32, {kDynamic, 6, 8, 8}});
  EXPECT_EQ(chains_of<NormChain>(graph)[0].product, -1);  // its bias is seen
}

TEST(GpuChains, PaddedAndOblongPoolsAreLeftAlone) {
  for (const auto& [attribute, value] : std::vector<std::pair<std::string, std::vector<int64_t>>>{
           {"pads", {1, 1, 1, 1}}, {"kernel_shape", {2, 3}}, {"dilations", {2, 2}}}) {
    Graph graph = tiny_graph();
    for (Node& node : graph.nodes) {
      if (node.op == "MaxPool") node.attributes[attribute] = value;
    }
    EXPECT_EQ(chains_of<NormChain>(graph)[1].pool, -1) << attribute;
  }
}

TEST(GpuChains, AViTsLayersAreFound) {
  const Graph graph = build_model("vit-seed", {.training_form = true}).value();
  const auto attention = chains_of<AttentionChain>(graph);
  ASSERT_EQ(attention.size(), 8U);
  EXPECT_NEAR(attention[0].factor, 1.0 / 8, 1e-6);  // keys of 64
  EXPECT_GE(attention[0].dropout, 0);
  EXPECT_EQ(chains_of<DenseChain>(graph).size(), 4U * 8);
  EXPECT_EQ(chains_of<LayerNormChain>(graph).size(), 2U * 8 + 1);
}

TEST(GpuChains, PixelsAreFollowedToTheFirstConvolution) {
  for (const char* name : {"alexnet", "vit-seed", "wrn-16-8"}) {
    const Graph graph = build_model(name, {.training_form = true}).value();
    const auto path = find_pixel_path(graph);
    ASSERT_TRUE(path.has_value()) << name;
    EXPECT_EQ(op_of(graph, path->conv), "Conv");
    EXPECT_EQ(path->nodes.size(), 3U);
  }
  Graph graph = tiny_graph();
  graph.inputs[0].type = DType::kFloat32;
  EXPECT_FALSE(find_pixel_path(graph).has_value());
}

}  // namespace
}  // namespace pare
