// Each method by itself, on a small net with every kind of weight layer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "compress/calibrate.h"
#include "compress/compress.h"
#include "compress/layers.h"
#include "compress/prune.h"
#include "compress/toy.h"
#include "graph/pare_scaled.h"

namespace pare {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using toy::compressed;
using toy::logits;
using toy::snr_db;

const Node* node_of(const Graph& graph, const std::string& name) {
  for (const Node& node : graph.nodes) {
    if (node.name == name) return &node;
  }
  return nullptr;
}

// The integers that a layer's weight input is dequantised from, with scales and axis.
struct Quantised {
  Tensor integers;
  std::vector<float> scales;
  int64_t axis = 0;
};
Quantised quantised_input(const Graph& graph, const std::string& layer, size_t input) {
  const Node* node = node_of(graph, layer);
  for (const Node& source : graph.nodes) {
    if (source.op != "DequantizeLinear" || source.outputs[0] != node->inputs[input]) continue;
    const Tensor* integers = graph.find_initializer(source.inputs[0]);
    if (integers == nullptr) break;
    return {*integers, to_float_vector(*graph.find_initializer(source.inputs[1])),
            source.int_attribute("axis", 1)};
  }
  ADD_FAILURE() << layer << ": input " << input << " is not dequantised from a constant";
  return {};
}

std::set<std::string> operators(const Graph& graph) {
  std::set<std::string> ops;
  for (const Node& node : graph.nodes) ops.insert(node.op);
  return ops;
}

// ---- float16, bfloat16 ----

template <typename Half>
void expect_stored_as(const std::string& recipe, DType type) {
  const Graph graph = toy::net();
  const Compressed half = compressed(graph, recipe, {});
  Graph rounded = graph;  // the same net, its weights rounded one by one
  for (const char* name : {"conv1.weight", "conv2.weight", "fc1.weight"}) {
    Tensor& tensor = rounded.initializers[name];
    if (tensor.size() < 256) continue;
    for (float& v : tensor.mutable_values<float>()) v = static_cast<float>(Half(v));
  }
  int64_t stored = 0;
  for (const auto& [name, tensor] : half.graph.initializers) {
    if (tensor.type() == type) stored += tensor.size();
    if (name.ends_with("bias")) {
      EXPECT_EQ(tensor.type(), DType::kFloat32) << name;
    }
  }
  EXPECT_EQ(stored, 16 * 8 * 9 + 32 * 144);  // conv2 and fc1: the others are too small to matter
  EXPECT_EQ(logits(half.graph), logits(rounded));
}

TEST(Fp16, WeightsRoundedBiasesKept) { expect_stored_as<Float16>("fp16", DType::kFloat16); }
TEST(Bf16, WeightsRoundedBiasesKept) { expect_stored_as<BFloat16>("bf16", DType::kBFloat16); }

TEST(Fp16, RefusesWhatItCannotHold) {
  Graph graph = toy::net();
  graph.initializers["fc1.weight"].mutable_values<float>()[5] = 70000;
  const auto half = compress(graph, *parse_recipe("fp16"), {});
  ASSERT_FALSE(half.ok());
  EXPECT_EQ(half.status().code(), StatusCode::kNumeric);
  EXPECT_THAT(half.status().message(), HasSubstr("'fc1.weight': element 5 is 70000"));
  EXPECT_TRUE(compress(graph, *parse_recipe("bf16"), {}).ok());
}

// ---- int8 ----

// One dense layer on the image's bytes, all worked out by hand.
TEST(Int8, DenseLayerByHand) {
  Graph graph = toy::net();
  graph.inputs[0].shape = {kDynamic, 3, 8, 8};
  graph.nodes.clear();
  graph.initializers.clear();
  const auto add = [&graph](const char* op, const char* name, std::vector<std::string> inputs) {
    Node node;
    node.op = op;
    node.name = name;
    node.inputs = std::move(inputs);
    node.outputs = {name};
    graph.nodes.push_back(std::move(node));
  };
  add("Cast", "cast", {"input"});
  graph.nodes[0].attributes["to"] = int64_t{1};
  add("Flatten", "flat", {"cast"});
  add("Gemm", "logits", {"flat", "w", "b"});
  std::vector<float> w(192 * 4);
  for (size_t i = 0; i < w.size(); ++i) w[i] = 0.001F * static_cast<float>((i * 37) % 255) - 0.1F;
  const std::vector<float> b = {1.25F, -3.5F, 0, 100};
  graph.initializers["w"] = Tensor::from_values<float>({192, 4}, w);
  graph.initializers["b"] = Tensor::from_values<float>({4}, b);

  const Compressed int8 = compressed(graph, "int8");
  const Quantised weight = quantised_input(int8.graph, "logits", 1);
  const Quantised bias = quantised_input(int8.graph, "logits", 2);
  ASSERT_EQ(weight.integers.type(), DType::kInt8);
  ASSERT_EQ(bias.integers.type(), DType::kInt32);
  EXPECT_EQ(weight.axis, 1);
  for (size_t c = 0; c < 4; ++c) {
    float largest = 0;
    for (size_t k = 0; k < 192; ++k) largest = std::max(largest, std::fabs(w[k * 4 + c]));
    EXPECT_FLOAT_EQ(weight.scales[c], largest / 127);
    EXPECT_FLOAT_EQ(bias.scales[c], weight.scales[c]);  // the image's scale is 1
    EXPECT_EQ(bias.integers.values<int32_t>()[c],
              static_cast<int32_t>(std::nearbyint(static_cast<double>(b[c]) / bias.scales[c])));
    for (size_t k = 0; k < 192; ++k) {
      EXPECT_EQ(weight.integers.values<int8_t>()[k * 4 + c],
                static_cast<int>(std::nearbyint(w[k * 4 + c] / weight.scales[c])));
    }
  }
  const auto images = toy::images(3, 99);
  const std::vector<float> got = logits(int8.graph, 3);
  std::vector<uint8_t> pixels(192);
  for (size_t n = 0; n < 3; ++n) {
    ASSERT_TRUE(images->read_image(static_cast<int64_t>(n), pixels).ok());
    for (size_t c = 0; c < 4; ++c) {
      int64_t sum = bias.integers.values<int32_t>()[c];
      for (size_t k = 0; k < 192; ++k) {
        sum += pixels[k] * weight.integers.values<int8_t>()[k * 4 + c];
      }
      const double want = static_cast<double>(sum) * weight.scales[c];
      EXPECT_NEAR(got[n * 4 + c], want, 1e-5 * std::fabs(want));
    }
  }
}

TEST(Int8, EveryLayerHasItsOwnScaleAChannel) {
  const Graph graph = toy::net();
  const Compressed int8 = compressed(graph, "int8");
  const struct {
    const char* layer;
    const char* weight;
    int64_t axis;
    int64_t channels;
  } layers[] = {
      {"conv2", "conv2.weight", 0, 16}, {"fc1", "fc1.weight", 0, 32}, {"fc2", "fc2.weight", 1, 4}};
  for (const auto& l : layers) {
    const Quantised weight = quantised_input(int8.graph, l.layer, 1);
    EXPECT_EQ(weight.integers.type(), DType::kInt8) << l.layer;
    EXPECT_EQ(weight.axis, l.axis) << l.layer;
    ASSERT_EQ(static_cast<int64_t>(weight.scales.size()), l.channels) << l.layer;
    const Tensor& original = *graph.find_initializer(l.weight);
    std::vector<float> largest(weight.scales.size(), 0);
    for_each_weight(original, static_cast<int>(l.axis), [&](int64_t c, int64_t i) {
      const float magnitude = std::fabs(original.values<float>()[static_cast<size_t>(i)]);
      largest[static_cast<size_t>(c)] = std::max(largest[static_cast<size_t>(c)], magnitude);
    });
    for (size_t c = 0; c < largest.size(); ++c) {
      EXPECT_FLOAT_EQ(weight.scales[c], largest[c] / 127) << l.layer << ", channel " << c;
    }
  }
  // The image's bytes go in as they are, its normalisation inside conv1.
  const Node* conv1 = node_of(int8.graph, "conv1");
  const GraphIndex index(int8.graph);
  const Node& source = int8.graph.nodes[static_cast<size_t>(index.producer(conv1->inputs[0]))];
  EXPECT_EQ(source.op, "DequantizeLinear");
  EXPECT_EQ(source.inputs[0], "input");
  EXPECT_EQ(to_float_vector(*int8.graph.find_initializer(source.inputs[1]))[0], 1.0F);
  EXPECT_EQ(quantised_input(int8.graph, "conv1", 1).integers.type(), DType::kInt8);
}

TEST(Int8, EveryRangeRuleKeepsTheAnswers) {
  const Graph graph = toy::net();
  const std::vector<float> want = logits(graph);
  for (const char* range : {"minmax", "percentile", "mse", "entropy"}) {
    const Compressed int8 = compressed(graph, std::string("int8,range=") + range);
    EXPECT_GT(snr_db(want, logits(int8.graph)), 25) << range;
    EXPECT_THAT(int8.steps[0].warnings, IsEmpty()) << range;
  }
}

TEST(Int8, RangesFollowTheirRule) {
  const auto high_of = [](const std::string& recipe, const std::string& layer, const char* fact) {
    const Compressed int8 = compressed(toy::net(), recipe);
    for (const auto& facts : int8.steps[0].layers) {
      if (facts["layer"] == layer) return facts[fact].get<double>();
    }
    return -1.0;
  };
  const double full = high_of("int8,range=minmax", "fc1", "input_high");
  const double most = high_of("int8,percentile=99", "fc1", "input_high");
  const double half = high_of("int8,percentile=75", "fc1", "input_high");
  EXPECT_GT(full, most);
  EXPECT_GT(most, half);
  EXPECT_EQ(high_of("int8,range=minmax", "fc1", "input_clipped"), 0);
  EXPECT_NEAR(high_of("int8,percentile=75", "fc1", "input_clipped"), 0.25, 0.02);
  // By hand: the largest value that any image brings to the layer.
  const CompressContext context = toy::context();
  const auto histograms =
      collect_histograms(toy::net(), *draw_images(context)->calibration, {"relu2"}, context);
  EXPECT_NEAR(full, histograms->at("relu2").max(), 1e-4 * full);
}

TEST(Int8, SkippedLayersStayFloat) {
  const Compressed int8 = compressed(toy::net(), "int8,skip=fc1;conv2.weight");
  EXPECT_NE(int8.graph.find_initializer("fc1.weight"), nullptr);
  EXPECT_NE(int8.graph.find_initializer("conv2.weight"), nullptr);
  EXPECT_EQ(int8.graph.find_initializer("fc2.weight"), nullptr);
  const auto wrong = compress(toy::net(), *parse_recipe("int8,skip=fc9"), toy::context());
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.status().message(),
              HasSubstr("no weight layer 'fc9' (there are: conv1, conv2, fc1, fc2)"));
}

TEST(Int8, WarnsOfFewImagesAndOfConstants) {
  CompressContext few = toy::context();
  few.calibration_images = 3;
  EXPECT_THAT(compressed(toy::net(), "int8", few).steps[0].warnings,
              Contains(HasSubstr("3 calibration images")));
  Graph dead = toy::net();
  for (float& b : dead.initializers["conv2.bias"].mutable_values<float>()) b = -1e4F;
  EXPECT_THAT(compressed(dead, "int8").steps[0].warnings,
              Contains(HasSubstr("'relu2' is zero on every calibration image")));
}

// ---- int8-dynamic ----

TEST(Int8Dynamic, DenseLayersInIntegersWithoutImages) {
  const Graph graph = toy::net();
  const Compressed dynamic = compressed(graph, "int8-dynamic", {});
  EXPECT_THAT(operators(dynamic.graph), Contains("MatMulInteger"));
  EXPECT_THAT(operators(dynamic.graph), Contains("DynamicQuantizeLinear"));
  EXPECT_NE(dynamic.graph.find_initializer("conv2.weight"), nullptr);
  EXPECT_EQ(dynamic.graph.find_initializer("fc1.weight"), nullptr);
  EXPECT_EQ(dynamic.graph.find_initializer("fc2.weight"), nullptr);
  EXPECT_GT(snr_db(logits(graph), logits(dynamic.graph)), 30);
  const Compressed one = compressed(graph, "int8-dynamic,skip=fc1", {});
  EXPECT_NE(one.graph.find_initializer("fc1.weight"), nullptr);
}

TEST(Int8Dynamic, FactorsOfGemmAreKept) {
  Graph graph = toy::net();
  for (Node& node : graph.nodes) {
    if (node.name != "fc1") continue;
    node.attributes["alpha"] = 0.5F;
    node.attributes["beta"] = 3.0F;
  }
  EXPECT_GT(snr_db(logits(graph), logits(compressed(graph, "int8-dynamic", {}).graph)), 30);
  EXPECT_GT(snr_db(logits(graph), logits(compressed(graph, "int8").graph)), 25);
}

// ---- prune ----

int64_t zeros_of(const Graph& graph, const std::string& weight) {
  return count_zeros(*graph.find_initializer(weight));
}
int64_t all_zeros(const Graph& graph) {
  int64_t zeros = 0;
  for (const std::string& weight : toy::weight_names()) zeros += zeros_of(graph, weight);
  return zeros;
}
constexpr int64_t kAll = 8 * 27 + 16 * 72 + 32 * 144 + 32 * 4;

TEST(Prune, UniformTakesTheSameShareOfEachLayer) {
  const Graph graph = toy::net();
  const Compressed pruned = compressed(graph, "prune:0.75,share=uniform", {});
  for (const std::string& name : toy::weight_names()) {
    const Tensor& before = *graph.find_initializer(name);
    const Tensor& after = *pruned.graph.find_initializer(name);
    EXPECT_EQ(count_zeros(after), before.size() * 3 / 4) << name;
    // What is left is as it was, and larger than all that went.
    float smallest_left = INFINITY;
    float largest_gone = 0;
    for (size_t i = 0; i < static_cast<size_t>(before.size()); ++i) {
      const float was = before.values<float>()[i];
      const float is = after.values<float>()[i];
      if (is == 0) {
        largest_gone = std::max(largest_gone, std::fabs(was));
      } else {
        EXPECT_EQ(is, was);
        smallest_left = std::min(smallest_left, std::fabs(was));
      }
    }
    EXPECT_LE(largest_gone, smallest_left) << name;
  }
  EXPECT_THAT(pruned.steps[0].warnings, IsEmpty());
  EXPECT_EQ(to_float_vector(*pruned.graph.find_initializer("fc1.bias")),
            to_float_vector(*graph.find_initializer("fc1.bias")));
}

TEST(Prune, GlobalHasOneThresholdAndWarnsOfAnEmptyLayer) {
  Graph graph = toy::net();
  const Compressed fair = compressed(graph, "prune:0.5,share=global", {});
  EXPECT_EQ(all_zeros(fair.graph), kAll / 2);
  EXPECT_THAT(fair.steps[0].warnings, IsEmpty());
  for (float& w : graph.initializers["conv2.weight"].mutable_values<float>()) w *= 1e-4F;
  const Compressed unfair = compressed(graph, "prune:0.5,share=global", {});
  EXPECT_EQ(zeros_of(unfair.graph, "conv2.weight"), 16 * 72);
  ASSERT_EQ(unfair.steps[0].warnings.size(), 1U);
  EXPECT_THAT(unfair.steps[0].warnings[0], HasSubstr("layer 'conv2' was pruned to nothing"));
  EXPECT_THAT(unfair.steps[0].warnings[0], HasSubstr("share=sensitivity"));
  // A few weights left are as bad.
  auto conv2 = graph.initializers["conv2.weight"].mutable_values<float>();
  std::fill(conv2.begin(), conv2.begin() + 20, 10.0F);
  const Compressed nearly = compressed(graph, "prune:0.5,share=global", {});
  ASSERT_EQ(nearly.steps[0].warnings.size(), 1U);
  EXPECT_THAT(nearly.steps[0].warnings[0], HasSubstr("nearly empties layer 'conv2': 20 of 1152"));
}

TEST(Prune, SensitivitySparesTheLayerThatMatters) {
  // fc1's weights hardly reach the logits, those of conv1 decide them.
  Graph graph = toy::net();
  for (float& w : graph.initializers["fc1.weight"].mutable_values<float>()) w *= 0.01F;
  const Compressed pruned = compressed(graph, "prune:0.7");
  EXPECT_EQ(all_zeros(pruned.graph), std::llround(0.7 * kAll));
  const double fc1 = static_cast<double>(zeros_of(pruned.graph, "fc1.weight")) / (32 * 144);
  const double conv1 = static_cast<double>(zeros_of(pruned.graph, "conv1.weight")) / (8 * 27);
  EXPECT_GT(fc1, conv1);
  EXPECT_THAT(pruned.steps[0].warnings, IsEmpty());
}

TEST(Prune, SensitivityDoesLessDamageThanUniform) {
  const Graph graph = toy::net();
  const auto images = toy::images(200, 5);
  const auto damage = [&](const std::string& recipe) {
    ForwardOptions options;
    const Tensor reference = *forward(graph, *images, options);
    return mean_divergence(reference, *forward(compressed(graph, recipe).graph, *images, options));
  };
  EXPECT_LT(damage("prune:0.6"), damage("prune:0.6,share=uniform"));
}

TEST(Prune, SensitivityRefusesAnswersThatAreNotFinite) {
  Graph graph = toy::net();
  for (const char* weight : {"conv2.weight", "fc1.weight"}) {
    for (float& w : graph.initializers[weight].mutable_values<float>()) w *= 1e30F;
  }
  const auto pruned = compress(graph, *parse_recipe("prune:0.5"), toy::context());
  ASSERT_FALSE(pruned.ok());
  EXPECT_EQ(pruned.status().code(), StatusCode::kNumeric);
  EXPECT_THAT(pruned.status().message(), HasSubstr("NaN or infinite"));
}

TEST(Prune, SkippedLayersStayWhole) {
  const Compressed pruned = compressed(toy::net(), "prune:0.5,share=uniform,skip=conv1;fc2", {});
  EXPECT_EQ(zeros_of(pruned.graph, "conv1.weight"), 0);
  EXPECT_EQ(zeros_of(pruned.graph, "fc2.weight"), 0);
  EXPECT_EQ(zeros_of(pruned.graph, "fc1.weight"), 32 * 144 / 2);
}

TEST(Prune, BeyondWhatLayersMayLose) {
  CompressContext context = toy::context();
  const Compressed pruned = compressed(toy::net(), "prune:0.99", context);
  EXPECT_EQ(all_zeros(pruned.graph), std::llround(0.99 * kAll));
}

// ---- round ----

TEST(Round, WeightsBecomeWholeMultiplesOfAScaleAChannel) {
  const Graph graph = toy::net();
  const Compressed rounded = compressed(graph, "round", {});
  for (const std::string& name : toy::weight_names()) {
    const Tensor& before = *graph.find_initializer(name);
    const Tensor& after = *rounded.graph.find_initializer(name);
    EXPECT_FALSE(find_scaled(before)) << name;
    const auto scaled = find_scaled(after);
    ASSERT_TRUE(scaled) << name;
    const int axis = name == "fc2.weight" ? 1 : 0;
    EXPECT_EQ(scaled->last_axis, axis == 1) << name;
    for_each_weight(before, axis, [&](int64_t c, int64_t i) {
      const auto at = static_cast<size_t>(i);
      const float half = 0.5F * scaled->scales[static_cast<size_t>(c)];
      EXPECT_NEAR(after.values<float>()[at], before.values<float>()[at], 1.0001F * half) << name;
    });
  }
  EXPECT_EQ(to_float_vector(*rounded.graph.find_initializer("fc1.bias")),
            to_float_vector(*graph.find_initializer("fc1.bias")));
  EXPECT_GT(snr_db(logits(graph), logits(rounded.graph)), 30);
  ASSERT_EQ(rounded.steps[0].layers.size(), 4U);
  for (const auto& facts : rounded.steps[0].layers) {
    EXPECT_GT(facts["signal_to_noise_db"].get<double>(), 33) << facts["layer"];
  }
}

TEST(Round, ASecondTimeChangesNothing) {
  for (const char* first : {"round", "prune:0.5,share=uniform+round"}) {
    const Graph once = compressed(toy::net(), first, {}).graph;
    const Compressed twice = compressed(once, "round", {});
    EXPECT_THAT(twice.steps[0].summary, HasSubstr("already")) << first;
    for (const std::string& name : toy::weight_names()) {
      EXPECT_EQ(to_float_vector(*twice.graph.find_initializer(name)),
                to_float_vector(*once.find_initializer(name)));
    }
  }
}

TEST(Round, SkippedLayersStayAsTheyAre) {
  const Graph graph = toy::net();
  const Compressed rounded = compressed(graph, "round,skip=conv2;fc1.weight", {});
  for (const std::string& name : toy::weight_names()) {
    const bool skipped = name == "conv2.weight" || name == "fc1.weight";
    EXPECT_EQ(to_float_vector(*rounded.graph.find_initializer(name)) ==
                  to_float_vector(*graph.find_initializer(name)),
              skipped)
        << name;
  }
  const auto wrong = compress(graph, *parse_recipe("round,skip=fc9"), {});
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.status().message(), HasSubstr("no weight layer 'fc9'"));
}

}  // namespace
}  // namespace pare
