// Weights of 4 bits and what repairs them, on a small net with every kind of weight layer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "compress/calibrate.h"
#include "compress/compress.h"
#include "compress/layer_outputs.h"
#include "compress/layers.h"
#include "compress/toy.h"
#include "graph/model_file.h"
#include "graph/passes.h"

namespace pare {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using toy::compressed;
using toy::logits;
using toy::snr_db;

// The DequantizeLinear of a layer's weight.
const Node& weight_source(const Graph& graph, const std::string& layer) {
  static const Node kNone;
  const auto node = std::ranges::find(graph.nodes, layer, &Node::name);
  EXPECT_NE(node, graph.nodes.end()) << layer;
  for (const Node& source : graph.nodes)
    if (source.op == "DequantizeLinear" && source.outputs[0] == node->inputs[1]) return source;
  ADD_FAILURE() << layer << " has no quantised weight";
  return kNone;
}

// Plain rounding, by the formula: one scale a row, the range -8 … 7.
std::vector<int> rounded_rows(const Tensor& weight) {
  const auto w = weight.values<float>();
  const auto rows = static_cast<size_t>(weight.dim(0));
  const size_t length = w.size() / rows;
  std::vector<int> integers;
  for (size_t o = 0; o < rows; ++o) {
    const auto row = w.subspan(o * length, length);
    const float high = std::max(0.0F, *std::max_element(row.begin(), row.end()));
    const float low = std::min(0.0F, *std::min_element(row.begin(), row.end()));
    const float scale = std::max(high / 7, -low / 8);
    for (const float v : row) integers.push_back(static_cast<int>(std::nearbyint(v / scale)));
  }
  return integers;
}

std::vector<int> stored_integers(const Graph& graph, const std::string& layer) {
  const Tensor& stored = *graph.find_initializer(weight_source(graph, layer).inputs[0]);
  EXPECT_EQ(stored.type(), DType::kInt4) << layer;
  std::vector<int> integers;
  for (int64_t i = 0; i < stored.size(); ++i) integers.push_back(int4_at(stored, i));
  return integers;
}

TEST(Int4, WeightsAreRealFourBitTensors) {
  const Graph graph = toy::net();
  const Compressed int4 = compressed(graph, "int8,weights=4");
  EXPECT_GE(int4.graph.opset, 21);
  for (const char* layer : {"conv2", "fc1"}) {
    EXPECT_EQ(stored_integers(int4.graph, layer),
              rounded_rows(*graph.find_initializer(std::string(layer) + ".weight")))
        << layer;
  }
  EXPECT_EQ(weight_source(int4.graph, "fc2").int_attribute("axis", 0), 1);
  EXPECT_THAT(int4.steps[0].summary, HasSubstr("weights in int4"));
  const Compressed by_name = compressed(graph, "int4");
  const Compressed same = compressed(graph, "int8,weights=4,weight_range=mse,rounding=gptq");
  EXPECT_EQ(logits(same.graph), logits(by_name.graph));
}

// All numbers of the quantised model in floats, by another way: its weights dequantised here.
TEST(Int4, IntegersAnswerAsTheFloatsTheyStandFor) {
  for (const char* recipe : {"int4", "int4,group=32"}) {
    const Compressed int4 = compressed(toy::net(), recipe);
    Graph floats = int4.graph;
    for (const char* layer : {"conv1", "conv2", "fc1", "fc2"}) {
      const Node source = weight_source(floats, layer);
      const Tensor& q = *floats.find_initializer(source.inputs[0]);
      const Tensor& scale = *floats.find_initializer(source.inputs[1]);
      const std::vector<float> scales = to_float_vector(scale);
      const int64_t axis = source.int_attribute("axis", 1);
      const int64_t block = std::max<int64_t>(1, source.int_attribute("block_size", 0));
      const int64_t along = q.dim(static_cast<int>(axis));
      int64_t inner = 1;
      for (int d = static_cast<int>(axis) + 1; d < q.rank(); ++d) inner *= q.dim(d);
      const bool blocked = source.int_attribute("block_size", 0) > 0;
      Tensor weight(DType::kFloat32, q.shape());
      for (int64_t i = 0; i < q.size(); ++i) {
        const int64_t a = i / inner % along;
        const int64_t at =
            blocked ? (i / inner / along * ((along + block - 1) / block) + a / block) * inner +
                          i % inner
                    : a;
        weight.mutable_values<float>()[static_cast<size_t>(i)] =
            static_cast<float>(int4_at(q, i)) * scales[static_cast<size_t>(at)];
      }
      std::erase_if(floats.nodes, [&](const Node& n) { return n.name == source.name; });
      floats.initializers[source.outputs[0]] = weight;
    }
    ASSERT_TRUE(check_graph(floats).ok());
    // Rounding may send a few activations to the next integer.
    EXPECT_GT(snr_db(logits(floats), logits(int4.graph)), 45) << recipe;
  }
}

TEST(Int4, GroupsAreBlocksOfInputs) {
  const Compressed int4 = compressed(toy::net(), "int4,group=32");
  const Node& wide = weight_source(int4.graph, "fc1");  // [32, 144], transB
  EXPECT_EQ(wide.int_attribute("axis", -1), 1);
  EXPECT_EQ(wide.int_attribute("block_size", 0), 32);
  EXPECT_EQ(int4.graph.find_initializer(wide.inputs[1])->shape(), (Shape{32, 5}));
  // Neither a convolution nor a layer with no more inputs than a group has any.
  EXPECT_EQ(weight_source(int4.graph, "conv2").attributes.count("block_size"), 0U);
  EXPECT_EQ(weight_source(int4.graph, "fc2").attributes.count("block_size"), 0U);
  const auto refused = parse_recipe("fp16+int8,group=32");
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.status().message(), HasSubstr("character 6: group=32 is for weights=4"));
}

TEST(Int4, FilesGiveBackTheSameModel) {
  const auto folder = std::filesystem::temp_directory_path() / "pare_int4_test";
  std::filesystem::create_directories(folder);
  for (const char* recipe : {"int4", "int4,group=32"}) {
    const Compressed int4 = compressed(toy::net(), recipe);
    for (const char* ending : {"net.onnx", "net.pare"}) {
      const std::string path = folder / ending;
      ASSERT_TRUE(save_model(int4.graph, path).ok());
      const auto again = load_model(path);
      ASSERT_TRUE(again.ok()) << again.status().message();
      EXPECT_EQ(stored_integers(*again, "fc1"), stored_integers(int4.graph, "fc1"));
      EXPECT_EQ(logits(*again), logits(int4.graph)) << path;
    }
  }
  std::filesystem::remove_all(folder);
}

TEST(Int4, PrunedWeightsStayZero) {
  const Compressed int4 = compressed(toy::net(), "prune:0.5,share=uniform+int4,group=32");
  const std::vector<int> integers = stored_integers(int4.graph, "fc1");
  EXPECT_GE(std::ranges::count(integers, 0), static_cast<int64_t>(integers.size()) / 2);
}

// An outlier in each row of fc1 takes all but a level or two from its other weights.
Graph net_with_outliers() {
  Graph graph = toy::net();
  auto weights = graph.initializers["fc1.weight"].mutable_values<float>();
  for (size_t o = 0; o < 32; ++o) weights[o * 144 + o] = 6.0F;
  return graph;
}

TEST(WeightsAuto, LayersThatLoseMostKeepEightBits) {
  // conv2 with an outlier in each channel loses more a weight than fc1, which has most weights.
  Graph graph = toy::net();
  auto weights = graph.initializers["conv2.weight"].mutable_values<float>();
  for (size_t o = 0; o < 16; ++o) weights[o * 72 + o] = 6.0F;
  const Compressed mixed = compressed(graph, "int8,weights=auto,bits=6");
  std::map<std::string, int> bits;
  for (const auto& layer : mixed.steps[0].layers) bits[layer["layer"]] = layer["weight_bits"];
  EXPECT_EQ(bits["fc1"], 4);
  EXPECT_EQ(bits["conv2"], 8);
  EXPECT_EQ(stored_integers(mixed.graph, "fc1").size(), 4608U);
  EXPECT_THAT(mixed.steps[0].summary, HasSubstr("4608 weights in int4 and 1496 weights in int8"));
  // 4.98 bits a weight; for fewer, the others follow.
  const Compressed four = compressed(graph, "int8,weights=auto,bits=4");
  for (const auto& layer : four.steps[0].layers) EXPECT_EQ(layer["weight_bits"], 4);
}

// ---- repairs ----

// Means by this test's own sums over the calibration images.
std::vector<double> means(const Graph& graph, const std::string& value, size_t axis,
                          const CompressContext& context) {
  std::vector<double> sums;
  int64_t images = 0;
  ForwardOptions options;
  options.keep = {value};
  options.show = [&](const std::string&, const Tensor& t) {
    sums.resize(static_cast<size_t>(t.dim(static_cast<int>(axis))));
    const auto channels = static_cast<int64_t>(sums.size());
    const int64_t inner = axis == 1 && t.rank() == 4 ? t.dim(2) * t.dim(3) : 1;
    for (int64_t i = 0; i < t.size(); ++i)
      sums[static_cast<size_t>(i / inner % channels)] +=
          static_cast<double>(t.values<float>()[static_cast<size_t>(i)]) /
          static_cast<double>(inner);
    images += t.dim(0);
    return ok_status();
  };
  const auto drawn = draw_images(context);
  EXPECT_TRUE(drawn.ok());
  EXPECT_TRUE(forward(graph, *drawn->calibration, options).ok());
  for (double& sum : sums) sum /= static_cast<double>(images);
  return sums;
}

TEST(BiasCorrection, MeansAreThoseOfTheFloatModel) {
  const CompressContext context = toy::context();
  const Graph graph = *fold_normalisation(toy::net());
  const Compressed plain = compressed(graph, "int4,rounding=nearest", context);
  const Compressed corrected = compressed(graph, "int4,rounding=nearest,bias=corrected", context);
  const std::vector<std::pair<std::string, size_t>> outputs = {
      {"conv1", 1}, {"conv2", 1}, {"fc1", 1}, {"logits", 1}};
  for (const auto& [value, axis] : outputs) {
    const std::vector<double> want = means(graph, value, axis, context);
    const std::vector<double> before = means(plain.graph, value, axis, context);
    const std::vector<double> after = means(corrected.graph, value, axis, context);
    double worst_before = 0;
    double worst_after = 0;
    for (size_t c = 0; c < want.size(); ++c) {
      worst_before = std::max(worst_before, std::fabs(before[c] - want[c]));
      worst_after = std::max(worst_after, std::fabs(after[c] - want[c]));
    }
    EXPECT_GT(worst_before, 0.01) << value;
    // What is left is the rounding of the bias, half of its scale.
    EXPECT_LT(worst_after, 0.05 * worst_before) << value;
  }
  EXPECT_THAT(corrected.steps[0].summary, HasSubstr("biases corrected"));
}

TEST(OutputSnr, ByItsFormulaOnTheFirstImages) {
  const CompressContext context = toy::context(40);
  const Graph graph = *fold_normalisation(toy::net());
  const Compressed int4 = compressed(graph, "int4", context);
  const auto drawn = draw_images(context);
  ASSERT_TRUE(drawn.ok());
  const auto answers = [&](const Graph& g) {
    const auto y = forward(g, *drawn->calibration, {});
    return to_float_vector(*y);
  };
  const double want = snr_db(answers(graph), answers(int4.graph));
  EXPECT_NEAR(int4.steps[0].layers.back()["output_snr_db"].get<double>(), want, 0.01);
}

TEST(Int4, WarningsNameTheLayerAndWhatIsBetter) {
  const Graph graph = net_with_outliers();
  const auto warnings = [&](const std::string& recipe) {
    return compressed(graph, recipe).steps[0].warnings;
  };
  EXPECT_THAT(warnings("int8,weights=4"),
              Contains(::testing::AllOf(HasSubstr("'fc1'"), HasSubstr("rounding=gptq"))));
  EXPECT_THAT(warnings("int8,weights=4,rounding=gptq"),
              ::testing::Not(Contains(HasSubstr("rounding=gptq is better"))));
  EXPECT_THAT(compressed(toy::net(), "int8").steps[0].warnings, IsEmpty());
}

TEST(RangeAverage, CutsARareOutlier) {
  const auto high = [](const std::string& recipe) {
    return compressed(toy::net(), recipe).steps[0].layers[2]["input_high"].get<double>();
  };
  EXPECT_LT(high("int8,range=average"), high("int8,range=minmax"));
  EXPECT_GT(high("int8,range=average"), 0.5 * high("int8,range=minmax"));
}

}  // namespace
}  // namespace pare
