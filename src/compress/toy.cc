#include "compress/toy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "compress/calibrate.h"
#include "compress/toy_builder.h"
#include "data/memory_dataset.h"

namespace pare::toy {

Graph net(uint64_t seed) {
  Builder b(seed);
  const std::vector<int64_t> ones = {1, 1, 1, 1};
  std::string x = b.begin("toy", 17);
  x = b.add("Conv", "conv1",
            {x, b.weights("conv1.weight", {8, 3, 3, 3}, 27), b.floats("conv1.bias", {8}, 0.1F)});
  x = b.add("Relu", "relu1", {x});
  x = b.add(
      "MaxPool", "pool1", {x},
      {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  x = b.add("Conv", "conv2",
            {x, b.weights("conv2.weight", {16, 8, 3, 3}, 72), b.floats("conv2.bias", {16}, 0.1F)},
            {{"pads", ones}});
  x = b.add("Relu", "relu2", {x});
  x = b.add("Flatten", "flatten", {x});
  x = b.add("Gemm", "fc1",
            {x, b.weights("fc1.weight", {32, 144}, 144), b.floats("fc1.bias", {32}, 0.1F)},
            {{"transB", int64_t{1}}});
  x = b.add("Relu", "relu3", {x});
  x = b.add("MatMul", "fc2", {x, b.weights("fc2.weight", {32, kClasses}, 32)});
  x = b.add("Add", "logits", {x, b.floats("fc2.bias", {kClasses}, 0.1F)});
  b.graph.outputs = {{"logits", DType::kFloat32, {kDynamic, kClasses}}};
  return std::move(b.graph);
}

Graph grouped_net() {
  Graph graph = net();
  for (Node& node : graph.nodes) {
    if (node.name != "conv2") continue;
    node.attributes = {{"group", int64_t{2}},
                       {"strides", std::vector<int64_t>{2, 1}},
                       {"dilations", std::vector<int64_t>{2, 1}},
                       {"pads", std::vector<int64_t>{2, 0, 2, 1}}};
  }
  // 3 x 3 in: rows (3 + 4 - 5) / 2 + 1 = 2, columns (3 + 1 - 3) + 1 = 2; so fc1 reads 16 · 4.
  const auto conv = to_float_vector(graph.initializers["conv2.weight"]);
  graph.initializers["conv2.weight"] = Tensor::from_values<float>(
      {16, 4, 3, 3}, std::vector<float>(conv.begin(), conv.begin() + 16 * 36));
  const auto fc1 = to_float_vector(graph.initializers["fc1.weight"]);
  graph.initializers["fc1.weight"] =
      Tensor::from_values<float>({32, 64}, std::vector<float>(fc1.begin(), fc1.begin() + 32 * 64));
  return graph;
}

std::shared_ptr<const Dataset> images(int64_t count, uint64_t seed) {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < count; ++i) {
    Rng rng(seed, RngPurpose::kTest, static_cast<uint64_t>(i));
    const auto label = static_cast<int32_t>(i % kClasses);
    labels.push_back(label);
    for (int c = 0; c < 3; ++c) {
      const float mean = rng.uniform(60.0F, 180.0F) + (c == label ? 60.0F : 0.0F);
      const float slope_x = rng.uniform(-8.0F, 8.0F);
      const float slope_y = rng.uniform(-8.0F, 8.0F);
      for (int64_t y = 0; y < kSize; ++y) {
        for (int64_t x = 0; x < kSize; ++x) {
          const float value = mean + slope_x * static_cast<float>(x - kSize / 2) +
                              slope_y * static_cast<float>(y - kSize / 2) + 10.0F * rng.normal();
          pixels.push_back(static_cast<uint8_t>(std::min(255.0F, std::max(0.0F, value))));
        }
      }
    }
  }
  auto made = MemoryDataset::create({3, kSize, kSize}, std::move(pixels), std::move(labels),
                                    {"a", "b", "c", "d"}, "toy images");
  return made.ok() ? *made : nullptr;
}

CompressContext context(int64_t count) {
  CompressContext context;
  context.train = images(count);
  context.calibration_images = 64;
  context.sensitivity_images = 32;
  context.batch_size = 20;  // the last batch is smaller
  context.threads = 2;
  return context;
}

std::vector<std::string> weight_names() {
  return {"conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight"};
}

Compressed compressed(const Graph& graph, const std::string& recipe,
                      const CompressContext& context) {
  auto parsed = parse_recipe(recipe);
  EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  auto result = compress(graph, *parsed, context);
  EXPECT_TRUE(result.ok()) << recipe << ": " << result.status().message();
  return result.ok() ? *std::move(result) : Compressed{};
}

std::vector<float> logits(const Graph& graph, int64_t count) {
  constexpr uint64_t kOtherSeed = 99;
  ForwardOptions options;
  options.threads = 1;
  const auto y = forward(graph, *images(count, kOtherSeed), options);
  EXPECT_TRUE(y.ok()) << y.status().message();
  return y.ok() ? to_float_vector(*y) : std::vector<float>();
}

double snr_db(const std::vector<float>& want, const std::vector<float>& got) {
  EXPECT_EQ(want.size(), got.size());
  double signal = 0;
  double noise = 1e-30;
  for (size_t i = 0; i < std::min(want.size(), got.size()); ++i) {
    signal += static_cast<double>(want[i]) * want[i];
    noise += std::pow(static_cast<double>(want[i]) - got[i], 2);
  }
  return 10 * std::log10(signal / noise);
}

}  // namespace pare::toy
