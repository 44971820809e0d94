// Nets as both of PyTorch's exporters write them, read, changed by the structural passes and run:
// the answers are ONNX Runtime's, at every stage (tests/fixtures/make_onnx.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "graph/onnx.h"
#include "graph/passes.h"
#include "graph/safetensors.h"
#include "runtime/executor.h"
#include "testing/compare.h"
#include "testing/files.h"

namespace pare {
namespace {

using testing_compare::Tolerance;

std::string fixture(const std::string& name) { return testing_files::fixture_path("onnx/" + name); }

// The fixtures' longest chain of layers and their longest sum (an 11×11 window of 3 channels). Each
// layer's rounding errors add up like a random walk along its sum, and pass through the layers
// behind it without growing, since norms and the size of the weights keep values of order 1.
Tolerance net_tolerance(double largest) {
  constexpr double kLayers = 20;
  constexpr double kLongestSum = 363;
  const double relative = kLayers * std::sqrt(kLongestSum) * 0x1p-24;
  return {relative * std::max(largest, 1.0), relative};
}

void expect_answers(const Graph& graph, const Safetensors& expected, const char* stage) {
  ASSERT_TRUE(check_graph(graph).ok()) << stage << ": " << check_graph(graph).message();
  const Tensor& x = expected.tensors.at("x");
  const Tensor& y = expected.tensors.at("y");
  auto executor = Executor::create(graph, {.batch = x.dim(0), .threads = 1});
  ASSERT_TRUE(executor.ok()) << stage << ": " << executor.status().message();
  const auto outputs = executor->run(std::span(&x, 1));
  ASSERT_TRUE(outputs.ok()) << stage << ": " << outputs.status().message();
  ASSERT_EQ((*outputs)[0].shape(), y.shape());
  float largest = 0.0F;
  for (float v : y.values<float>()) largest = std::max(largest, std::abs(v));
  EXPECT_TRUE(testing_compare::all_close((*outputs)[0].values<float>(), y.values<float>(),
                                         net_tolerance(largest)))
      << stage;
}

class ExportedNet : public ::testing::TestWithParam<const char*> {};

TEST_P(ExportedNet, AnswersAsOnnxRuntimeDoes) {
  const std::string name = GetParam();
  const auto graph = read_onnx(fixture(name + ".onnx"));
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  const auto expected = read_safetensors(fixture(name + ".safetensors"));
  ASSERT_TRUE(expected.ok()) << expected.status().message();
  expect_answers(*graph, *expected, "as read");

  const auto simple = simplify(*graph);
  ASSERT_TRUE(simple.ok()) << simple.status().message();
  expect_answers(*simple, *expected, "simplified");

  const auto bytes = serialise_onnx(*simple);
  ASSERT_TRUE(bytes.ok()) << bytes.status().message();
  const auto again = parse_onnx(std::as_bytes(std::span(*bytes)), "");
  ASSERT_TRUE(again.ok()) << again.status().message();
  expect_answers(*again, *expected, "simplified, written and read");

  const auto prepared = prepare_for_runtime(*graph);
  ASSERT_TRUE(prepared.ok()) << prepared.status().message();
  expect_answers(*prepared, *expected, "prepared for the runtime");

  const auto fixed = fix_batch(*graph, 2);
  ASSERT_TRUE(fixed.ok()) << fixed.status().message();
  const auto fixed_prepared = prepare_for_runtime(*fixed);
  ASSERT_TRUE(fixed_prepared.ok()) << fixed_prepared.status().message();
  expect_answers(*fixed_prepared, *expected, "with a fixed batch");
}

INSTANTIATE_TEST_SUITE_P(Onnx, ExportedNet,
                         ::testing::Values("residual_script", "residual_dynamo",
                                           "residual_unfolded", "alex_script", "alex_dynamo",
                                           "vit_script", "vit_dynamo", "vit_fixed_script",
                                           "vit_fixed_dynamo", "plain_vit_erf_script",
                                           "plain_vit_erf_dynamo", "plain_vit_tanh_script",
                                           "plain_vit_tanh_dynamo"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace pare
