// Steps on float weights that make them easier to quantise: the answers must stay.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "compress/calibrate.h"
#include "compress/compress.h"
#include "compress/toy.h"

namespace pare {
namespace {

using ::testing::HasSubstr;
using toy::compressed;
using toy::logits;
using toy::snr_db;

// float32 holds 2^-24 of a number, 144 dB; a dozen roundings in a row leave more than this.
constexpr double kRoundingDb = 110;

float largest_at(const Tensor& weight, size_t first, size_t step, size_t count) {
  float largest = 0;
  for (size_t i = 0; i < count; ++i)
    largest = std::max(largest, std::fabs(weight.values<float>()[first + i * step]));
  return largest;
}

TEST(Equalise, RangesAreEqualAndAnswersStay) {
  Graph graph = toy::net();
  // Channels of very different size, as depthwise nets have them.
  auto conv1 = graph.initializers["conv1.weight"].mutable_values<float>();
  for (size_t i = 0; i < conv1.size(); ++i)
    conv1[i] *= std::pow(4.0F, static_cast<float>(i / 27 % 4));
  const Compressed even = compressed(graph, "equalise");
  EXPECT_THAT(even.steps[0].summary, HasSubstr("3 pairs"));
  EXPECT_GT(snr_db(logits(graph), logits(even.graph)), kRoundingDb);

  const Tensor& w1 = even.graph.initializers.at("conv1.weight");  // [8, 27]
  const Tensor& w2 = even.graph.initializers.at("conv2.weight");  // [16, 8, 9]
  const Tensor& fc1 = even.graph.initializers.at("fc1.weight");   // [32, 16 · 9]
  for (size_t c = 0; c < 8; ++c) {
    float second = 0;
    for (size_t o = 0; o < 16; ++o)
      second = std::max(second, largest_at(w2, (o * 8 + c) * 9, 1, 9));
    EXPECT_NEAR(largest_at(w1, c * 27, 1, 27) / second, 1.0, 0.01) << c;
  }
  for (size_t c = 0; c < 16; ++c) {
    float second = 0;
    for (size_t o = 0; o < 32; ++o)
      second = std::max(second, largest_at(fc1, o * 144 + c * 9, 1, 9));
    EXPECT_NEAR(largest_at(w2, c * 72, 1, 72) / second, 1.0, 0.01) << c;
  }
}

TEST(Equalise, OnePairByHand) {
  // Ranges 8 and 2: s = 2, both become 4. The dead channel stays.
  Graph graph = toy::net();
  graph.nodes.clear();
  graph.initializers.clear();
  graph.nodes = {{"Cast", "", "cast", {"input"}, {"x"}, {{"to", int64_t{1}}}},
                 {"Flatten", "", "flat", {"x"}, {"f"}, {}},
                 {"MatMul", "", "fc1", {"f", "w1"}, {"p"}, {}},
                 {"Add", "", "fc1.add", {"p", "b1"}, {"h"}, {}},
                 {"Relu", "", "relu", {"h"}, {"r"}, {}},
                 {"Gemm", "", "fc2", {"r", "w2"}, {"logits"}, {{"transB", int64_t{1}}}}};
  Tensor w1(DType::kFloat32, {192, 2});
  w1.mutable_values<float>()[0] = -8.0F;
  w1.mutable_values<float>()[2] = 1.0F;
  graph.initializers["w1"] = w1;
  graph.initializers["b1"] = Tensor::from_values<float>({2}, std::vector<float>{10, 3});
  graph.initializers["w2"] =
      Tensor::from_values<float>({4, 2}, std::vector<float>{1, 5, 2, -5, 0, 1, -1, 0});
  const Compressed even = compressed(graph, "equalise");
  EXPECT_FLOAT_EQ(even.graph.initializers.at("w1").values<float>()[0], -4.0F);
  EXPECT_FLOAT_EQ(even.graph.initializers.at("w1").values<float>()[2], 0.5F);
  EXPECT_FLOAT_EQ(even.graph.initializers.at("b1").values<float>()[0], 5.0F);
  EXPECT_FLOAT_EQ(even.graph.initializers.at("b1").values<float>()[1], 3.0F);
  EXPECT_FLOAT_EQ(even.graph.initializers.at("w2").values<float>()[2], 4.0F);
  EXPECT_FLOAT_EQ(even.graph.initializers.at("w2").values<float>()[3], -5.0F);
}

// Two groups: input channel c of the second convolution is in row c % 4 of its group's weights.
TEST(Equalise, GroupedConvolutions) {
  Graph graph = toy::net();
  Rng rng(4, RngPurpose::kTest);
  Tensor grouped(DType::kFloat32, {16, 4, 3, 3});
  for (float& w : grouped.mutable_values<float>()) w = rng.normal();
  graph.initializers["conv2.weight"] = grouped;
  for (Node& node : graph.nodes)
    if (node.name == "conv2") node.attributes["group"] = int64_t{2};
  ASSERT_TRUE(check_graph(graph).ok());
  const Compressed even = compressed(graph, "equalise");
  EXPECT_THAT(even.steps[0].summary, HasSubstr("3 pairs"));
  EXPECT_GT(snr_db(logits(graph), logits(even.graph)), kRoundingDb);
}

TEST(Equalise, NothingToDoIsSaid) {
  Graph graph = toy::net();
  for (Node& node : graph.nodes) {
    if (node.op == "Relu") node.op = "Tanh";
  }
  const auto refused = compress(graph, *parse_recipe("equalise"), toy::context());
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.status().message(), HasSubstr("equalise: the model has no two layers"));
}

// Tokens of 16 channels -> LayerNorm -> two dense layers, and one behind a flattening.
Graph norm_net() {
  Graph g = toy::net();
  g.nodes.clear();
  g.initializers.clear();
  Rng rng(9, RngPurpose::kTest);
  const auto floats = [&](const std::string& name, const Shape& shape, float mean) {
    Tensor t(DType::kFloat32, shape);
    for (float& v : t.mutable_values<float>()) v = mean + 0.2F * rng.normal();
    g.initializers[name] = std::move(t);
  };
  floats("gamma", {16}, 1);
  floats("beta", {16}, 0);
  g.initializers["gamma"].mutable_values<float>()[5] = 40.0F;  // an outlier channel
  floats("a.weight", {16, 8}, 0);
  floats("b.weight", {16, 8}, 0);
  floats("head.weight", {4, 192}, 0);
  floats("c.weight", {4, 192}, 0);
  g.initializers["tokens"] = Tensor::from_values<int64_t>({3}, std::vector<int64_t>{0, 12, 16});
  g.initializers["wide"] = Tensor::from_values<int64_t>({2}, std::vector<int64_t>{0, 192});
  const std::map<std::string, Attribute> turned = {{"transB", int64_t{1}}};
  g.nodes = {{"Cast", "", "cast", {"input"}, {"x"}, {{"to", int64_t{1}}}},
             {"Reshape", "", "tokens.reshape", {"x", "tokens"}, {"t"}, {}},
             {"LayerNormalization", "", "norm", {"t", "gamma", "beta"}, {"n"}, {}},
             {"MatMul", "", "a", {"n", "a.weight"}, {"ya"}, {}},
             {"MatMul", "", "b", {"n", "b.weight"}, {"yb"}, {}},
             {"Concat", "", "both", {"ya", "yb"}, {"yc"}, {{"axis", int64_t{-1}}}},
             {"Reshape", "", "yc.flat", {"yc", "wide"}, {"yf"}, {}},
             {"Gemm", "", "head", {"yf", "head.weight"}, {"yh"}, turned},
             {"Reshape", "", "n.flat", {"n", "wide"}, {"nf"}, {}},
             {"Gemm", "", "c", {"nf", "c.weight"}, {"yd"}, turned},
             {"Add", "", "logits", {"yh", "yd"}, {"logits"}, {}}};
  return g;
}

TEST(Smooth, FactorsByTheFormulaAndAnswersStay) {
  const CompressContext context = toy::context();
  const Graph graph = norm_net();
  ASSERT_TRUE(check_graph(graph).ok()) << check_graph(graph).message();
  const Compressed smooth = compressed(graph, "smooth:0.7", context);
  EXPECT_GT(snr_db(logits(graph), logits(smooth.graph)), kRoundingDb);

  // Activations' maxima by this test's own sweep.
  std::vector<float> largest(16, 0);
  ForwardOptions options;
  options.keep = {"n"};
  options.show = [&largest](const std::string&, const Tensor& n) {
    const auto values = n.values<float>();
    for (size_t i = 0; i < values.size(); ++i)
      largest[i % 16] = std::max(largest[i % 16], std::fabs(values[i]));
    return ok_status();
  };
  const auto drawn = draw_images(context);
  ASSERT_TRUE(drawn.ok());
  ASSERT_TRUE(forward(graph, *drawn->calibration, options).ok());
  const auto& before = graph.initializers;
  const auto& after = smooth.graph.initializers;
  for (size_t j = 0; j < 16; ++j) {
    float weight = std::max(largest_at(before.at("a.weight"), j * 8, 1, 8),
                            largest_at(before.at("b.weight"), j * 8, 1, 8));
    for (size_t o = 0; o < 4; ++o)
      weight = std::max(weight, largest_at(before.at("c.weight"), o * 192 + j, 16, 12));
    const double s = std::pow(largest[j], 0.7) / std::pow(weight, 0.3);
    EXPECT_NEAR(before.at("gamma").values<float>()[j] / after.at("gamma").values<float>()[j], s,
                1e-4 * s);
    EXPECT_NEAR(after.at("b.weight").values<float>()[j * 8 + 3] /
                    before.at("b.weight").values<float>()[j * 8 + 3],
                s, 1e-4 * s);
  }
  // What it is for: the outlier no longer decides the scale of the others.
  const auto worst = [&](const std::string& recipe) {
    return snr_db(logits(graph), logits(compressed(graph, recipe, context).graph));
  };
  EXPECT_GT(worst("smooth:0.5+int8"), worst("int8") + 3);
}

TEST(Smooth, ANormThatOthersReadStays) {
  Graph graph = norm_net();  // as it was, but for a ReLU that reads the norm, too
  graph.nodes.insert(graph.nodes.end() - 3, {"Relu", "", "other", {"n"}, {"nr"}, {}});
  for (Node& node : graph.nodes)
    if (node.name == "n.flat") node.inputs[0] = "nr";
  ASSERT_TRUE(check_graph(graph).ok()) << check_graph(graph).message();
  const auto refused = compress(graph, *parse_recipe("smooth"), toy::context());
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.status().message(), HasSubstr("smooth: the model has no LayerNormalization"));
  EXPECT_FALSE(compress(toy::net(), *parse_recipe("smooth"), toy::context()).ok());
}

}  // namespace
}  // namespace pare
