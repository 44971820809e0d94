// The two signs of eight-bit weights: which are turned, and that nothing is lost.
#include "graph/weight_signs.h"

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graph/onnx.h"

namespace pare {
namespace {

Node make_node(const std::string& op, std::vector<std::string> inputs, const std::string& output) {
  Node node;
  node.op = op;
  node.name = output;
  node.inputs = std::move(inputs);
  node.outputs = {output};
  return node;
}

// x [N, 3] times w [3, 2], quantised a channel; `zero_point`: written out.
Graph quantised(bool zero_point) {
  Graph g;
  g.opset = 21;
  g.name = "net";
  g.inputs = {{"x", DType::kFloat32, {kDynamic, 3}}};
  g.outputs = {{"y", DType::kFloat32, {kDynamic, 2}}};
  g.initializers["w"] = Tensor::from_values<int8_t>({3, 2}, {0, 1, -1, 127, -127, -128});
  g.initializers["s"] = Tensor::from_values<float>({2}, {0.5F, 0.25F});
  g.initializers["z"] = Tensor(DType::kInt8, {2});
  std::vector<std::string> inputs = {"w", "s"};
  if (zero_point) inputs.push_back("z");
  g.nodes = {make_node("DequantizeLinear", inputs, "d"), make_node("MatMul", {"x", "d"}, "y")};
  remove_unused(g);
  return g;
}

std::vector<int> codes(const Graph& graph, const std::string& name) {
  const Tensor& tensor = graph.initializers.at(name);
  std::vector<int> values;
  if (tensor.type() == DType::kUInt8) {
    for (const uint8_t v : tensor.values<uint8_t>()) values.push_back(v);
  } else {
    for (const int8_t v : tensor.values<int8_t>()) values.push_back(v);
  }
  return values;
}

TEST(WeightSigns, UnsignedWeightsAreMovedBy128) {
  const Graph graph = with_unsigned_weights(quantised(true));
  EXPECT_EQ(graph.initializers.at("w").type(), DType::kUInt8);
  EXPECT_EQ(codes(graph, "w"), (std::vector<int>{128, 129, 127, 255, 1, 0}));
  EXPECT_EQ(codes(graph, "z"), (std::vector<int>{128, 128}));
  EXPECT_TRUE(check_graph(graph).ok());
}

TEST(WeightSigns, AZeroPointThatWasLeftOutIsWritten) {
  const Graph graph = with_unsigned_weights(quantised(false));
  ASSERT_TRUE(graph.nodes[0].has_input(2));
  EXPECT_EQ(codes(graph, graph.nodes[0].inputs[2]), (std::vector<int>{128, 128}));
  EXPECT_TRUE(check_graph(graph).ok());
}

TEST(WeightSigns, TheWayBackGivesTheSameWeights) {
  const Graph original = quantised(true);
  const Graph graph = with_signed_weights(with_unsigned_weights(original));
  for (const char* name : {"w", "z"}) {
    EXPECT_EQ(graph.initializers.at(name).type(), DType::kInt8);
    EXPECT_EQ(codes(graph, name), codes(original, name));
  }
}

TEST(WeightSigns, FilesHoldUnsignedWeightsAndGraphsSignedOnes) {
  const Graph original = quantised(true);
  const auto bytes = serialise_onnx(original);
  ASSERT_TRUE(bytes.ok());
  // As the file has it: 128 + 0, 1, -1, 127, -127, -128.
  EXPECT_NE(bytes->find(std::string("\x80\x81\x7f\xff\x01\x00", 6)), std::string::npos);
  const auto read = parse_onnx(std::as_bytes(std::span(*bytes)), "");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(codes(*read, "w"), codes(original, "w"));
  const auto again = serialise_onnx(*read);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, *bytes);
}

TEST(WeightSigns, DynamicProductsAreTurnedToo) {
  Graph g;
  g.opset = 21;
  g.inputs = {{"x", DType::kUInt8, {kDynamic, 3}}};
  g.outputs = {{"y", DType::kInt32, {kDynamic, 2}}};
  g.initializers["w"] = Tensor::from_values<int8_t>({3, 2}, {0, 1, -1, 127, -127, -128});
  g.nodes = {make_node("MatMulInteger", {"x", "w"}, "y")};
  const Graph turned = with_unsigned_weights(g);
  ASSERT_TRUE(turned.nodes[0].has_input(3));
  EXPECT_FALSE(turned.nodes[0].has_input(2));
  EXPECT_EQ(codes(turned, turned.nodes[0].inputs[3]), std::vector<int>{128});
  EXPECT_TRUE(check_graph(turned).ok());
}

TEST(WeightSigns, WhatIsNotInTheMiddleOrReadElsewhereStays) {
  Graph off = quantised(true);
  off.initializers["z"] = Tensor::from_values<int8_t>({2}, {0, 1});
  EXPECT_EQ(with_unsigned_weights(off).initializers.at("w").type(), DType::kInt8);

  Graph shared = quantised(true);  // the zero point serves a second tensor
  shared.initializers["v"] = shared.initializers.at("w");
  shared.nodes.insert(shared.nodes.begin(), make_node("DequantizeLinear", {"v", "s", "z"}, "e"));
  shared.nodes.push_back(make_node("MatMul", {"x", "e"}, "unread"));
  EXPECT_EQ(with_unsigned_weights(shared).initializers.at("w").type(), DType::kInt8);

  Graph shown = quantised(true);  // its integers are an output
  shown.outputs.push_back({"w", DType::kInt8, {3, 2}});
  EXPECT_EQ(with_unsigned_weights(shown).initializers.at("w").type(), DType::kInt8);

  // Without a zero point uint8 weights stand about 0.
  Graph bare = quantised(false);
  bare.initializers["w"] = Tensor::from_values<uint8_t>({3, 2}, {0, 1, 2, 3, 4, 255});
  EXPECT_EQ(with_signed_weights(bare).initializers.at("w").type(), DType::kUInt8);
}

}  // namespace
}  // namespace pare
