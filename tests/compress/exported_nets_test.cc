// Compression of nets as both of PyTorch's exporters write them: residual additions, batch norm,
// attention, learned tokens. Their weights are random, so what is held is the signal-to-noise ratio
// of the answers against the float net's, not an accuracy.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "base/rng.h"
#include "compress/calibrate.h"
#include "compress/compress.h"
#include "data/memory_dataset.h"
#include "graph/onnx.h"
#include "models/contract.h"
#include "testing/files.h"

namespace pare {
namespace {

// Pictures of soft stripes with some noise: neighbouring pixels alike, as in photographs.
std::shared_ptr<const Dataset> stripes(int64_t count, int64_t size, uint64_t seed) {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < count; ++i) {
    Rng rng(seed, RngPurpose::kTest, static_cast<uint64_t>(i));
    labels.push_back(static_cast<int32_t>(i % 10));
    for (int c = 0; c < 3; ++c) {
      const float mean = rng.uniform(60.0F, 190.0F);
      const float depth = rng.uniform(10.0F, 70.0F);
      const float along_x = rng.uniform(-0.9F, 0.9F);
      const float along_y = rng.uniform(-0.9F, 0.9F);
      for (int64_t k = 0; k < size * size; ++k) {
        const float phase =
            along_x * static_cast<float>(k % size) + along_y * static_cast<float>(k / size);
        const float value = mean + depth * std::sin(phase) + 6.0F * rng.normal();
        pixels.push_back(static_cast<uint8_t>(std::fmin(255.0F, std::fmax(0.0F, value))));
      }
    }
  }
  std::vector<std::string> classes;
  for (int c = 0; c < 10; ++c) classes.push_back(std::to_string(c));
  return *MemoryDataset::create({3, size, size}, std::move(pixels), std::move(labels),
                                std::move(classes), "stripes");
}

double snr_db(const Tensor& want, const Tensor& got) {
  double signal = 0;
  double noise = 1e-30;
  const auto w = want.values<float>();
  const auto g = got.values<float>();
  for (size_t i = 0; i < w.size(); ++i) {
    signal += static_cast<double>(w[i]) * w[i];
    noise += std::pow(static_cast<double>(w[i]) - g[i], 2);
  }
  return 10 * std::log10(signal / noise);
}

struct Net {
  const char* file;
  int64_t size;
};

class ExportedNet : public ::testing::TestWithParam<Net> {};

TEST_P(ExportedNet, EveryMethodKeepsTheAnswers) {
  const Net net = GetParam();
  auto read = read_onnx(testing_files::fixture_path(std::string("onnx/") + net.file));
  ASSERT_TRUE(read.ok()) << read.status().message();
  ContractOptions contract;
  contract.mean = {0.5F, 0.45F, 0.4F};
  contract.std = {0.25F};
  const auto imported = attach_contract(*std::move(read), contract);
  ASSERT_TRUE(imported.ok()) << imported.status().message();
  CompressContext context;
  context.train = stripes(96, net.size, 1);
  context.calibration_images = 64;
  context.sensitivity_images = 16;
  context.threads = 2;
  const auto images = stripes(32, net.size, 2);
  const Tensor want = *forward(imported->graph, *images, {});
  const struct {
    const char* recipe;
    double least_db;
  } recipes[] = {
      {"int8", 20},
      {"int8,range=minmax", 20},
      {"int8,outputs=uint8", 20},
      {"int8-dynamic", 25},
      {"fp16", 55},
      {"bf16", 35},
      {"prune:0.1", 15},
      {"prune:0.1+int8", 12},
  };
  for (const auto& [recipe, least_db] : recipes) {
    const auto result = compress(imported->graph, *parse_recipe(recipe), context);
    ASSERT_TRUE(result.ok()) << recipe << ": " << result.status().message();
    const auto got = forward(result->graph, *images, {});
    ASSERT_TRUE(got.ok()) << recipe << ": " << got.status().message();
    EXPECT_GT(snr_db(want, *got), least_db) << recipe;
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ExportedNet,
                         ::testing::Values(Net{"residual_dynamo.onnx", 32},
                                           Net{"residual_script.onnx", 32},
                                           Net{"alex_dynamo.onnx", 64}, Net{"vit_dynamo.onnx", 16},
                                           Net{"vit_script.onnx", 16},
                                           Net{"plain_vit_erf_dynamo.onnx", 16}),
                         [](const auto& test) {
                           const std::string file = test.param.file;
                           return file.substr(0, file.find('.'));
                         });

}  // namespace
}  // namespace pare
