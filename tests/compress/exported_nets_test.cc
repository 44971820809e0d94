// Compression of nets as both of PyTorch's exporters write them: residual additions, batch norm,
// attention, learned tokens. Their weights are random, so what is held is the signal-to-noise ratio
// of the answers against the float net's, not an accuracy.
#include <gtest/gtest.h>

#include <string>

#include "compress/calibrate.h"
#include "compress/compress.h"
#include "graph/onnx.h"
#include "models/contract.h"
#include "stripes.h"
#include "testing/files.h"

namespace pare {
namespace {

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
      {"shrink:0.9,multiple=1", 5},
      {"shrink:0.9,multiple=1+int8", 5},
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
