#include "graph/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/cost.h"
#include "graph/toy.h"

namespace pare {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using toy::node;

// input -> Relu a -> Relu b -> output, in the wrong order, with a branch nobody needs.
Graph chain() {
  Graph g;
  g.inputs = {{"input", DType::kFloat32, {kDynamic, 4}}};
  g.outputs = {{"output", DType::kFloat32, {kDynamic, 4}}};
  g.initializers["unused"] = Tensor(DType::kFloat32, {4});
  g.nodes = {node("Relu", "b", {"x"}, {"output"}), node("Relu", "a", {"input"}, {"x"}),
             node("Add", "dead", {"x", "unused"}, {"y"})};
  return g;
}

TEST(Graph, SortsNodesAndKeepsTheOrderOfSortedOnes) {
  Graph g = chain();
  EXPECT_THAT(check_graph(g).message(), HasSubstr("nothing writes its input 'x' before it"));
  ASSERT_TRUE(sort_nodes(g).ok());
  EXPECT_EQ(g.nodes[0].name, "a");
  EXPECT_EQ(g.nodes[1].name, "b");
  EXPECT_EQ(g.nodes[2].name, "dead");
  EXPECT_TRUE(check_graph(g).ok()) << check_graph(g).message();
}

TEST(Graph, SortingNamesACycleAndAMissingValue) {
  Graph cycle = chain();
  cycle.nodes[1].inputs = {"output"};
  EXPECT_THAT(sort_nodes(cycle).message(), HasSubstr("cycle"));
  Graph missing = chain();
  missing.nodes[1].inputs = {"nowhere"};
  EXPECT_THAT(sort_nodes(missing).message(), HasSubstr("'nowhere'"));
}

TEST(Graph, RemovesWhatNoOutputNeeds) {
  Graph g = chain();
  remove_unused(g);
  ASSERT_EQ(g.nodes.size(), 2U);
  EXPECT_EQ(g.nodes[0].name, "b");
  EXPECT_TRUE(g.initializers.empty());
}

TEST(Graph, FreshNamesAreNotTaken) {
  Graph g = chain();
  EXPECT_EQ(g.fresh_name("z"), "z");
  EXPECT_EQ(g.fresh_name("x"), "x_1");
  g.nodes[0].name = "x_1";
  EXPECT_EQ(g.fresh_name("x"), "x_2");
}

TEST(GraphIndex, KnowsWritersAndReaders) {
  const Graph g = chain();
  const GraphIndex index(g);
  EXPECT_EQ(index.producer("x"), 1);
  EXPECT_EQ(index.producer("input"), -1);
  EXPECT_THAT(index.consumers("x"), ElementsAre(0, 2));
  EXPECT_TRUE(index.consumers("output").empty());
  EXPECT_TRUE(index.is_output("output"));
  EXPECT_FALSE(index.is_output("x"));
}

TEST(CheckGraph, RefusesNamesWrittenTwice) {
  Graph g = chain();
  ASSERT_TRUE(sort_nodes(g).ok());
  Graph twice = g;
  twice.nodes[1].outputs = {"x"};
  EXPECT_THAT(check_graph(twice).message(), HasSubstr("'x' is already written"));
  Graph shadow = g;
  shadow.initializers["x"] = Tensor(DType::kFloat32, {4});
  EXPECT_FALSE(check_graph(shadow).ok());
  Graph same_name = g;
  same_name.nodes[1].name = "a";
  EXPECT_THAT(check_graph(same_name).message(), HasSubstr("two nodes are called 'a'"));
  Graph no_output = g;
  no_output.outputs[0].name = "absent";
  EXPECT_THAT(check_graph(no_output).message(), HasSubstr("'absent'"));
}

TEST(CheckGraph, RefusesWrongAttributesAndUnknownOperators) {
  Graph g = chain();
  ASSERT_TRUE(sort_nodes(g).ok());
  Graph unknown = g;
  unknown.nodes[0].op = "NonMaxSuppression";
  EXPECT_EQ(check_graph(unknown).code(), StatusCode::kUnsupported);
  EXPECT_THAT(check_graph(unknown).message(),
              HasSubstr("node 'a' (NonMaxSuppression): Pare has no operator"));
  Graph attribute = g;
  attribute.nodes[0].attributes["alpha"] = 1.0F;
  EXPECT_THAT(check_graph(attribute).message(), HasSubstr("does not know its attribute 'alpha'"));
  Graph kind = g;
  kind.nodes[0].op = "Softmax";
  kind.nodes[0].attributes["axis"] = 1.0F;
  EXPECT_THAT(check_graph(kind).message(), HasSubstr("axis is a float, expected an integer"));
  Graph inputs = g;
  inputs.nodes[0].inputs = {"input", "input"};
  EXPECT_THAT(check_graph(inputs).message(), HasSubstr("2 inputs, expected 1"));
  Graph missing = g;
  missing.nodes[0].op = "Cast";
  EXPECT_THAT(check_graph(missing).message(), HasSubstr("attribute to is missing"));
}

// uint8 image -> scaled -> Conv 3->8 3x3 -> flatten -> dense 10, the bias of the dense layer added
// apart, as exporters do; the weights of the second one quantised.
Graph small_net() {
  Graph g;
  g.inputs = {{"input", DType::kUInt8, {kDynamic, 3, 8, 8}}};
  g.outputs = {{"logits", DType::kFloat32, {kDynamic, 10}}};
  g.initializers["scale"] = Tensor(DType::kFloat32, {1, 3, 1, 1});
  g.initializers["conv.weight"] = Tensor(DType::kFloat32, {8, 3, 3, 3});
  g.initializers["conv.bias"] = Tensor(DType::kFloat32, {8});
  g.initializers["dense.weight_q"] = Tensor(DType::kInt8, {288, 10});
  g.initializers["dense.scale"] = Tensor(DType::kFloat32, {10});
  g.initializers["dense.bias"] = Tensor(DType::kFloat32, {10});
  g.nodes = {node("Cast", "cast", {"input"}, {"f"}),
             node("Mul", "scaled", {"f", "scale"}, {"s"}),
             node("Conv", "conv", {"s", "conv.weight", "conv.bias"}, {"c"}),
             node("Flatten", "flat", {"c"}, {"flat"}),
             node("DequantizeLinear", "dq", {"dense.weight_q", "dense.scale"}, {"w"}),
             node("MatMul", "dense", {"flat", "w"}, {"m"}),
             node("Add", "bias", {"m", "dense.bias"}, {"logits"})};
  g.nodes[0].attributes["to"] = int64_t{1};
  return g;
}

TEST(Cost, CountsParametersAndMacsByHand) {
  const Graph g = small_net();
  ASSERT_TRUE(check_graph(g).ok()) << check_graph(g).message();
  // Neither the preprocessing's scale nor the quantisation's is learned.
  EXPECT_EQ(g.parameter_count(), 8 * 27 + 8 + 2880 + 10);
  const auto costs = node_costs(g);
  ASSERT_TRUE(costs.ok()) << costs.status().message();
  EXPECT_EQ((*costs)[1].parameters, 0);
  EXPECT_EQ((*costs)[2].parameters, 224);
  EXPECT_EQ((*costs)[2].weight_bytes, 224 * 4);
  EXPECT_EQ((*costs)[2].macs, 8 * 36 * 27);
  EXPECT_EQ((*costs)[2].output_shape, (Shape{kDynamic, 8, 6, 6}));
  EXPECT_EQ((*costs)[5].macs, 2880);
  EXPECT_EQ((*costs)[5].parameters, 2880);
  EXPECT_EQ((*costs)[5].weight_bytes, 2880);
  EXPECT_EQ((*costs)[6].parameters, 10);
}

// Shapes are what a file says they are: each value is small enough, what they multiply is not.
TEST(Cost, MacsThatNoNumberHoldsAreTheGreatest) {
  Graph g;
  const int64_t many = int64_t{1} << 39;
  g.inputs = {{"q", DType::kFloat32, {1, many, 1}},
              {"k", DType::kFloat32, {1, many, 1}},
              {"v", DType::kFloat32, {1, many, 1}}};
  g.outputs = {{"y", DType::kFloat32, {1, many, 1}}};
  g.nodes = {node("Attention", "attention", {"q", "k", "v"}, {"y"})};
  g.nodes[0].domain = "pare";
  g.nodes[0].attributes = {{"num_heads", int64_t{1}}, {"scale", 1.0F}};
  const auto costs = node_costs(g);
  ASSERT_TRUE(costs.ok()) << costs.status().message();
  EXPECT_EQ(costs->front().macs, INT64_MAX);
}

}  // namespace
}  // namespace pare
