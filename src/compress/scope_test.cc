#include "compress/scope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace pare {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Dense layers of two by two on x.
class Net {
 public:
  Net() {
    graph.inputs = {{"x", DType::kFloat32, {kDynamic, 2}}};
    graph.opset = 17;
  }
  std::string dense(const std::string& name, const std::string& input) {
    graph.initializers[name + ".weight"] =
        Tensor::from_values<float>({2, 2}, std::vector<float>{1, 2, 3, 4});
    return add("MatMul", name, {input, name + ".weight"});
  }
  std::string add(const std::string& op, const std::string& name, std::vector<std::string> inputs) {
    Node node;
    node.op = op;
    node.name = name;
    node.inputs = std::move(inputs);
    node.outputs = {name};
    graph.nodes.push_back(std::move(node));
    return name;
  }
  std::vector<std::string> inside(const std::string& scope,
                                  const std::vector<std::string>& only = {},
                                  const std::vector<std::string>& skip = {}) const {
    std::vector<std::string> names;
    const auto layers = layers_in_scope(graph, "prune", scope, only, skip);
    EXPECT_TRUE(layers.ok()) << layers.status().message();
    if (layers.ok())
      for (const WeightLayer& layer : *layers) names.push_back(layer.name);
    return names;
  }
  Graph graph;
};

// stem + embedding -> block: attention and MLP, each beside its shortcut -> block whose shortcut
// has a layer of its own -> head.
Net transformer() {
  Net net;
  net.graph.initializers["embedding"] =
      Tensor::from_values<float>({2}, std::vector<float>{0.5F, 1});
  std::string x = net.add("Add", "embedded", {net.dense("stem", "x"), "embedding"});
  x = net.add("Add", "sum1",
              {x, net.dense("proj", net.add("Relu", "relu", {net.dense("qkv", x)}))});
  x = net.add("Add", "sum2", {net.dense("mlp", x), x});
  x = net.add("Add", "sum3", {net.dense("branch", x), net.dense("shortcut", x)});
  x = net.dense("head", x);
  net.graph.outputs = {{x, DType::kFloat32, {kDynamic, 2}}};
  return net;
}

TEST(Scope, EncoderIsWhatLiesOnResidualBranches) {
  const Net net = transformer();
  EXPECT_THAT(net.inside("encoder"), ElementsAre("qkv", "proj", "mlp", "branch", "shortcut"));
  EXPECT_THAT(net.inside("all"),
              ElementsAre("stem", "qkv", "proj", "mlp", "branch", "shortcut", "head"));
  EXPECT_THAT(net.inside("encoder", {"mlp", "qkv"}), ElementsAre("qkv", "mlp"));
  EXPECT_THAT(net.inside("encoder", {}, {"mlp"}), ElementsAre("qkv", "proj", "branch", "shortcut"));
}

TEST(Scope, NamesOutsideAreRefused) {
  const Net net = transformer();
  const auto head = layers_in_scope(net.graph, "prune", "encoder", {"head"}, {});
  ASSERT_FALSE(head.ok());
  EXPECT_THAT(head.status().message(), HasSubstr("layer 'head' is named by only"));
  const auto nothing = layers_in_scope(net.graph, "prune", "all", {"head"}, {"head"});
  ASSERT_FALSE(nothing.ok());
  EXPECT_THAT(nothing.status().message(), HasSubstr("only=head, skip=head"));
}

TEST(Scope, AWeightOfTwoLayersIsOne) {
  Net net = transformer();
  for (Node& node : net.graph.nodes)
    if (node.name == "mlp") node.inputs[1] = "qkv.weight";
  EXPECT_THAT(net.inside("encoder"), ElementsAre("qkv", "proj", "branch", "shortcut"));
}

}  // namespace
}  // namespace pare
