#include "compress/gram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "compress/calibrate.h"
#include "compress/toy.h"

namespace pare {
namespace {

using ::testing::HasSubstr;

// All of one value's elements over the images, one image after the other.
std::vector<double> values_of(const Graph& graph, const Dataset& images, const std::string& name) {
  ForwardOptions options;
  options.threads = 1;
  options.keep = {name};
  std::vector<double> all;
  options.show = [&all](const std::string&, const Tensor& value) {
    for (const float v : value.values<float>()) all.push_back(static_cast<double>(v));
    return ok_status();
  };
  EXPECT_TRUE(forward(graph, images, options).ok());
  return all;
}

// Sum of x x^T over rows of k.
std::vector<double> products(const std::vector<double>& x, size_t k) {
  std::vector<double> gram(k * k, 0.0);
  for (size_t r = 0; r < x.size(); r += k)
    for (size_t i = 0; i < k; ++i)
      for (size_t j = 0; j < k; ++j) gram[i * k + j] += x[r + i] * x[r + j];
  return gram;
}

void expect_gram(const std::vector<double>& want, const std::vector<double>& got,
                 const std::vector<double>& squares, size_t k) {
  ASSERT_EQ(got.size(), k * k);
  for (size_t i = 0; i < k; ++i) {
    const double size = want[i * k + i];
    EXPECT_NEAR(squares[i], size, 1e-5 * size + 1e-9) << i;
    for (size_t j = 0; j < k; ++j) {
      const double bound = 1e-5 * std::sqrt(size * want[j * k + j]) + 1e-9;
      ASSERT_NEAR(got[i * k + j], j < i ? 0.0 : want[i * k + j], bound) << i << " " << j;
    }
  }
}

TEST(Gram, DenseLayersAndAPaddedConvolution) {
  const Graph graph = toy::net();
  const CompressContext context = toy::context();
  const auto images = toy::images(30, 3);
  InputSource source(graph, toy::weight_names(), images, context, InputSource::Kind::kGram);
  const auto fc1 = source.at("fc1.weight");
  ASSERT_TRUE(fc1.ok()) << fc1.status().message();
  EXPECT_EQ((*fc1)->rows, 30);
  expect_gram(products(values_of(graph, *images, "flatten"), 144), (*fc1)->gram[0], (*fc1)->squares,
              144);
  const auto fc2 = source.at("fc2.weight");
  expect_gram(products(values_of(graph, *images, "relu3"), 32), (*fc2)->gram[0], (*fc2)->squares,
              32);
  // conv2: 8 channels of 3 x 3, padded by one all around, 3 x 3 window.
  const std::vector<double> pool = values_of(graph, *images, "pool1");
  std::vector<double> rows;
  for (int n = 0; n < 30; ++n)
    for (int y = 0; y < 3; ++y)
      for (int x = 0; x < 3; ++x)
        for (int c = 0; c < 8; ++c)
          for (int i = y - 1; i <= y + 1; ++i)
            for (int j = x - 1; j <= x + 1; ++j) {
              const bool inside = i >= 0 && i < 3 && j >= 0 && j < 3;
              rows.push_back(inside ? pool[static_cast<size_t>(((n * 8 + c) * 3 + i) * 3 + j)] : 0);
            }
  const auto conv2 = source.at("conv2.weight");
  EXPECT_EQ((*conv2)->rows, 270);
  expect_gram(products(rows, 72), (*conv2)->gram[0], (*conv2)->squares, 72);
  EXPECT_EQ(source.passes(), 2);  // conv2 stands before fc1: asked for late, it takes another pass
}

TEST(Gram, GroupedStridedDilated) {
  const Graph graph = toy::grouped_net();
  const CompressContext context = toy::context();
  const auto images = toy::images(10, 3);
  InputSource source(graph, {"conv2.weight"}, images, context, InputSource::Kind::kGram);
  const auto conv2 = source.at("conv2.weight");
  ASSERT_TRUE(conv2.ok()) << conv2.status().message();
  ASSERT_EQ((*conv2)->gram.size(), 2U);
  EXPECT_EQ((*conv2)->rows, 40);
  const std::vector<double> pool = values_of(graph, *images, "pool1");
  for (int g = 0; g < 2; ++g) {
    std::vector<double> rows;
    for (int n = 0; n < 10; ++n)
      for (int y = 0; y < 2; ++y)
        for (int x = 0; x < 2; ++x)
          for (int c = 4 * g; c < 4 * g + 4; ++c)
            for (int a = 0; a < 3; ++a)
              for (int b = 0; b < 3; ++b) {
                const int i = 2 * y - 2 + 2 * a;
                const int j = x + b;
                const bool inside = i >= 0 && i < 3 && j < 3;
                rows.push_back(inside ? pool[static_cast<size_t>(((n * 8 + c) * 3 + i) * 3 + j)]
                                      : 0);
              }
    const std::vector<double> squares((*conv2)->squares.begin() + 36 * g,
                                      (*conv2)->squares.begin() + 36 * (g + 1));
    expect_gram(products(rows, 36), (*conv2)->gram[static_cast<size_t>(g)], squares, 36);
  }
}

// A bound that holds one matrix at a time: as many passes, the same numbers. Any number of threads:
// the same bits.
TEST(Gram, MemoryBoundAndThreadsChangeNothing) {
  const Graph graph = toy::net();
  CompressContext context = toy::context();
  const auto images = toy::images(30, 3);
  std::map<std::string, std::vector<double>> want;
  for (const int threads : {1, 2, 3}) {
    context.threads = threads;
    for (const int64_t bound : {kMaxGramBytes, int64_t{1}}) {
      InputSource source(graph, toy::weight_names(), images, context, InputSource::Kind::kGram,
                         bound);
      for (const std::string& weight : toy::weight_names()) {
        const auto seen = source.at(weight);
        ASSERT_TRUE(seen.ok()) << seen.status().message();
        const auto [first, added] = want.try_emplace(weight, (*seen)->gram[0]);
        EXPECT_EQ((*seen)->gram[0], first->second) << weight << " " << threads << " " << bound;
      }
      EXPECT_EQ(source.passes(), bound == 1 ? 4 : 1);
    }
  }
  InputSource squares(graph, toy::weight_names(), images, context, InputSource::Kind::kSquares);
  for (const std::string& weight : toy::weight_names()) {
    const std::vector<double>& gram = want.at(weight);
    const InputStatistics& mine = **squares.at(weight);
    EXPECT_TRUE(mine.gram.empty());
    const auto k = static_cast<size_t>(mine.shape.k);
    for (size_t i = 0; i < k; ++i)
      EXPECT_NEAR(mine.squares[i], gram[i * k + i], 1e-5 * gram[i * k + i] + 1e-9);
  }
}

// One weight read by two layers has the sum over both; in two layouts it is refused.
TEST(Gram, SharedWeights) {
  Graph graph = toy::net();
  const CompressContext context = toy::context();
  const auto images = toy::images(12, 3);
  Node again;
  again.op = "MatMul";
  again.name = "again";
  again.inputs = {"fc1_copy", "fc2.weight"};
  again.outputs = {"again"};
  Node copy;
  copy.op = "Neg";
  copy.name = "fc1_copy";
  copy.inputs = {"fc1"};
  copy.outputs = {"fc1_copy"};
  Node sum;
  sum.op = "Add";
  sum.name = "both";
  sum.inputs = {"logits", "again"};
  sum.outputs = {"both"};
  graph.nodes.insert(graph.nodes.end(), {copy, again, sum});
  graph.outputs[0].name = "both";
  InputSource source(graph, {"fc2.weight"}, images, context, InputSource::Kind::kGram);
  const auto seen = source.at("fc2.weight");
  ASSERT_TRUE(seen.ok()) << seen.status().message();
  EXPECT_EQ((*seen)->rows, 24);
  std::vector<double> rows = values_of(graph, *images, "relu3");
  const std::vector<double> more = values_of(graph, *images, "fc1_copy");
  rows.insert(rows.end(), more.begin(), more.end());
  expect_gram(products(rows, 32), (*seen)->gram[0], (*seen)->squares, 32);
}

TEST(Gram, RefusesWhatHasNoMatrixAndWhatIsNotFinite) {
  const CompressContext context = toy::context();
  const auto images = toy::images(4, 3);
  Graph transposed = toy::net();
  for (Node& node : transposed.nodes)
    if (node.name == "fc1") node.attributes["transA"] = int64_t{1};
  const auto kind = InputSource::Kind::kSquares;
  InputSource by_column(transposed, {"fc1.weight"}, images, context, kind);
  const auto refused = by_column.at("fc1.weight");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), StatusCode::kUnsupported);
  EXPECT_THAT(refused.status().message(), HasSubstr("layer 'fc1' (Gemm)"));

  Graph broken = toy::net();
  broken.initializers["scale"].mutable_values<float>()[0] = std::numeric_limits<float>::infinity();
  InputSource from_infinity(broken, {"conv1.weight"}, images, context, kind);
  const auto infinite = from_infinity.at("conv1.weight");
  ASSERT_FALSE(infinite.ok());
  EXPECT_EQ(infinite.status().code(), StatusCode::kNumeric);
  EXPECT_THAT(infinite.status().message(), HasSubstr("'conv1'"));
}

// Rounding by GPTQ leaves out what is too large, and says so.
TEST(Gram, TooManyInputsAreRefusedByName) {
  Graph graph;
  graph.inputs = {{"x", DType::kFloat32, {kDynamic, kMaxGramInputs + 1}}};
  graph.initializers["w"] = Tensor(DType::kFloat32, {1, kMaxGramInputs + 1});
  Node node;
  node.op = "Gemm";
  node.name = "wide";
  node.inputs = {"x", "w"};
  node.outputs = {"y"};
  node.attributes["transB"] = int64_t{1};
  graph.nodes.push_back(node);
  graph.outputs = {{"y", DType::kFloat32, {kDynamic, 1}}};
  const Status refused = check_gram(graph, find_weight_layers(graph).at(0));
  EXPECT_EQ(refused.code(), StatusCode::kUnsupported);
  EXPECT_THAT(refused.message(), HasSubstr("layer 'wide': a Gram matrix of 8193 inputs"));
}

}  // namespace
}  // namespace pare
