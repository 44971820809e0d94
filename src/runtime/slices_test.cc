// Where a net may be cut so that its images run in slices, and where it may not.
#include "runtime/slices.h"

#include <gtest/gtest.h>

#include "runtime/toy.h"

namespace pare {
namespace {

bool has_op(const Graph& graph, const std::string& op) {
  for (const Node& node : graph.nodes) {
    if (node.op == op) return true;
  }
  return false;
}

// A convolution, `middle` on its output, and a dense layer on what that gives.
template <typename F>
Graph net_around(F&& middle) {
  Net net(3);
  std::string x = net.add("Conv", {net.normalised(), net.weights({8, 3, 3, 3})});
  x = net.add("Flatten", {middle(net, x)});
  return net.finish(net.add("MatMul", {x, net.weights({800, 10})}), 10);
}

TEST(Slices, FloatNetIsCutBeforeItsFirstDenseLayer) {
  const auto split = split_for_slices(float_net());
  ASSERT_TRUE(split.has_value());
  EXPECT_EQ(split->images.nodes.back().op, "Flatten");
  EXPECT_EQ(split->head.nodes.front().op, "Gemm");
  EXPECT_TRUE(split->head_follows_relu);
  ASSERT_EQ(split->images.outputs.size(), 1u);
  EXPECT_EQ(split->images.outputs, split->head.inputs);
  EXPECT_EQ(split->images.outputs[0].shape, (Shape{kDynamic, 200}));
  // Each part keeps its own weights alone.
  EXPECT_EQ(split->images.initializers.size() + split->head.initializers.size(),
            float_net().initializers.size());
}

TEST(Slices, IntegersPassBetweenThePartsOfAQuantisedNet) {
  const auto split = split_for_slices(quantised_net());
  ASSERT_TRUE(split.has_value());
  EXPECT_EQ(split->images.outputs[0].type, DType::kUInt8);
  EXPECT_EQ(split->head.nodes.front().op, "DequantizeLinear");
}

TEST(Slices, WithoutADenseLayerAllRunsInSlices) {
  Net net(4);
  std::string x = net.add("Conv", {net.normalised(), net.weights({10, 3, 3, 3})});
  x = net.add("Flatten", {net.add("GlobalAveragePool", {x})});
  const auto split = split_for_slices(net.finish(x, 10));
  ASSERT_TRUE(split.has_value());
  EXPECT_TRUE(split->head.nodes.empty());
}

TEST(Slices, WhatLooksAcrossImagesStaysTogether) {
  const auto softmax = [](int64_t axis) {
    return net_around([&](Net& net, const std::string& x) {
      return net.add("Softmax", {x}, {{"axis", axis}});
    });
  };
  EXPECT_TRUE(has_op(split_for_slices(softmax(1))->images, "Softmax"));
  EXPECT_FALSE(has_op(split_for_slices(softmax(0))->images, "Softmax"));
  EXPECT_FALSE(has_op(split_for_slices(softmax(-4))->images, "Softmax"));

  const auto shifted = [](int64_t axis) {
    return net_around([&](Net& net, const std::string& x) {
      const auto axes = net.constant(Tensor::from_values<int64_t>({1}, {axis}));
      return net.add("Sub", {x, net.add("ReduceMean", {x, axes}, {{"keepdims", int64_t{1}}})});
    });
  };
  EXPECT_TRUE(has_op(split_for_slices(shifted(2))->images, "ReduceMean"));
  EXPECT_FALSE(has_op(split_for_slices(shifted(0))->images, "ReduceMean"));

  const auto turned = net_around([](Net& net, const std::string& x) {
    const std::string y = net.add("Transpose", {x}, {{"perm", std::vector<int64_t>{1, 0, 2, 3}}});
    return net.add("Transpose", {net.add("Relu", {y})},
                   {{"perm", std::vector<int64_t>{1, 0, 2, 3}}});
  });
  EXPECT_FALSE(has_op(split_for_slices(turned)->images, "Transpose"));
}

// Its scale comes from the largest value of the whole batch.
TEST(Slices, DynamicQuantisationStaysTogether) {
  Net net(5);
  std::string x = net.add("Conv", {net.normalised(), net.weights({8, 3, 3, 3})});
  Graph graph = net.graph;
  graph.nodes.push_back({.op = "DynamicQuantizeLinear",
                         .name = "dynamic",
                         .inputs = {x},
                         .outputs = {"q", "scale", "zero"}});
  graph.nodes.push_back({.op = "DequantizeLinear",
                         .name = "back",
                         .inputs = {"q", "scale", "zero"},
                         .outputs = {"y"}});
  graph.nodes.push_back({.op = "Flatten", .name = "flat", .inputs = {"y"}, .outputs = {"scores"}});
  graph.outputs = {{"scores", DType::kFloat32, {kDynamic, 800}}};
  const auto split = split_for_slices(graph);
  ASSERT_TRUE(split.has_value());
  EXPECT_FALSE(has_op(split->images, "DynamicQuantizeLinear"));
}

// Two values are needed behind every later place.
TEST(Slices, OneValuePassesTheCut) {
  Net net(6);
  const std::string a = net.add("Conv", {net.normalised(), net.weights({8, 3, 3, 3})});
  const std::string b = net.add("Relu", {a});
  const std::string x = net.add("Flatten", {b});
  const std::string y = net.add("Flatten", {a});
  const std::string w = net.weights({800, 10});
  const std::string sum = net.add("Add", {net.add("MatMul", {x, w}), net.add("MatMul", {y, w})});
  const auto split = split_for_slices(net.finish(sum, 10));
  ASSERT_TRUE(split.has_value());
  EXPECT_EQ(split->images.outputs[0].name, a);
  EXPECT_TRUE(has_op(split->head, "Relu"));
}

TEST(Slices, NeedsAnyNumberOfImagesAndAProduct) {
  Graph fixed = float_net();
  fixed.inputs[0].shape[0] = 8;
  EXPECT_FALSE(split_for_slices(fixed).has_value());
  Net net(7);
  const std::string x = net.add("Flatten", {net.normalised()});
  EXPECT_FALSE(
      split_for_slices(net.finish(net.add("MatMul", {x, net.weights({432, 10})}), 10)).has_value());
}

}  // namespace
}  // namespace pare
