#include "runtime/quantised_passes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "runtime/executor.h"

namespace pare {
namespace {

// x, quantised and dequantised, transposed, quantised again with `second_scale`, reshaped,
// quantised a third time: what a quantiser leaves behind attention.
Graph moved_between_pairs(float second_scale) {
  Graph g;
  g.inputs = {{"x", DType::kFloat32, {kDynamic, 4, 6}}};
  g.outputs = {{"y", DType::kFloat32, {kDynamic, 24}}};
  g.initializers["scale"] = Tensor::scalar<float>(0.037F);
  g.initializers["second"] = Tensor::scalar<float>(second_scale);
  g.initializers["zero"] = Tensor::scalar<uint8_t>(93);
  g.initializers["shape"] = Tensor::from_values<int64_t>({2}, std::vector<int64_t>{0, 24});
  const auto pair = [&g](const std::string& from, const std::string& to, const std::string& scale) {
    g.nodes.push_back({"QuantizeLinear", "", to + ".q", {from, scale, "zero"}, {to + ".int"}, {}});
    g.nodes.push_back({"DequantizeLinear", "", to + ".dq", {to + ".int", scale, "zero"}, {to}, {}});
  };
  pair("x", "a", "scale");
  g.nodes.push_back(
      {"Transpose", "", "turn", {"a"}, {"b"}, {{"perm", std::vector<int64_t>{0, 2, 1}}}});
  pair("b", "c", "second");
  g.nodes.push_back({"Reshape", "", "flat", {"c", "shape"}, {"d"}, {}});
  pair("d", "y", "scale");
  return g;
}

int64_t count(const Graph& graph, const std::string& op) {
  return std::ranges::count_if(graph.nodes, [&](const Node& node) { return node.op == op; });
}

std::vector<float> answers(const Graph& graph) {
  Tensor x(DType::kFloat32, {1, 4, 6});
  auto values = x.mutable_values<float>();
  // Halves of a step among them: rounding must be the same.
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = 0.0185F * static_cast<float>(static_cast<int>(i * 17 % 24) - 11);
  }
  auto executor = Executor::create(graph, {.threads = 1, .reference_kernels = true});
  EXPECT_TRUE(executor.ok()) << executor.status().message();
  auto result = executor->run(std::vector<Tensor>{x});
  EXPECT_TRUE(result.ok()) << result.status().message();
  return to_float_vector((*result)[0]);
}

TEST(QuantisedPasses, RepeatedPairsGoAndNothingElseChanges) {
  const Graph before = moved_between_pairs(0.037F);
  const auto after = drop_repeated_quantisation(before);
  ASSERT_TRUE(after.ok()) << after.status().message();
  EXPECT_EQ(count(*after, "QuantizeLinear"), 1);
  EXPECT_EQ(count(*after, "DequantizeLinear"), 1);
  EXPECT_EQ(answers(*after), answers(before));
}

TEST(QuantisedPasses, OtherScalesAndOtherReadersKeepTheirPairs) {
  const auto other_scale = drop_repeated_quantisation(moved_between_pairs(0.041F));
  ASSERT_TRUE(other_scale.ok()) << other_scale.status().message();
  EXPECT_EQ(count(*other_scale, "QuantizeLinear"), 3);
  Graph read_twice = moved_between_pairs(0.037F);
  read_twice.outputs.push_back({"a", DType::kFloat32, {kDynamic, 4, 6}});
  const auto kept = drop_repeated_quantisation(read_twice);
  ASSERT_TRUE(kept.ok()) << kept.status().message();
  EXPECT_EQ(count(*kept, "QuantizeLinear"), 2) << "only the pair in the middle goes";
}

}  // namespace
}  // namespace pare
