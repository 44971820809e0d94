// share: weights of few values.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <set>

#include "base/file.h"
#include "compress/compress.h"
#include "compress/toy.h"
#include "graph/pare_file.h"
#include "testing/files.h"

namespace pare {
namespace {

using ::testing::HasSubstr;
using toy::compressed;
using toy::logits;
using toy::snr_db;

std::set<float> values_of(const Graph& graph, const std::string& name) {
  const auto values = graph.find_initializer(name)->values<float>();
  return {values.begin(), values.end()};
}

TEST(Share, ALayerHasSoManyValues) {
  const Graph graph = toy::net();
  for (const int bits : {1, 3, 8}) {
    const Compressed shared = compressed(graph, "share:" + std::to_string(bits), {});
    for (const std::string& name : toy::weight_names()) {
      const size_t count = values_of(shared.graph, name).size();
      EXPECT_LE(count, size_t{1} << bits) << name;
      EXPECT_GE(count, 2U) << name;
    }
  }
  const auto quality = [&](const std::string& recipe) {
    return snr_db(logits(graph), logits(compressed(graph, recipe).graph));
  };
  const double five = quality("share:5");
  EXPECT_GT(five, 15);
  EXPECT_GT(five, quality("share:3") + 5);
  EXPECT_LT(five, quality("share:8") - 5);
}

// The same weights by hand: of one bit, the means of those below and those above the middle of the
// two means.
TEST(Share, OneBitByHand) {
  const Graph graph = toy::net();
  const Compressed shared = compressed(graph, "share:1", {});
  const auto before = graph.find_initializer("fc1.weight")->values<float>();
  const auto after = shared.graph.find_initializer("fc1.weight")->values<float>();
  const std::set<float> two = values_of(shared.graph, "fc1.weight");
  ASSERT_EQ(two.size(), 2U);
  const double middle =
      0.5 * (static_cast<double>(*two.begin()) + static_cast<double>(*two.rbegin()));
  double sums[2] = {};
  int counts[2] = {};
  for (size_t i = 0; i < before.size(); ++i) {
    const bool high = static_cast<double>(before[i]) > middle;
    EXPECT_EQ(after[i], high ? *two.rbegin() : *two.begin());
    sums[high] += static_cast<double>(before[i]);
    ++counts[high];
  }
  EXPECT_NEAR(*two.begin(), sums[0] / counts[0], 1e-6);
  EXPECT_NEAR(*two.rbegin(), sums[1] / counts[1], 1e-6);
}

TEST(Share, ZerosStayAndTakeOneValue) {
  const Compressed pruned = compressed(toy::net(), "prune:0.5,share=uniform", {});
  const Compressed shared = compressed(toy::net(), "prune:0.5,share=uniform+share:4", {});
  for (const std::string& name : toy::weight_names()) {
    const auto before = pruned.graph.find_initializer(name)->values<float>();
    const auto after = shared.graph.find_initializer(name)->values<float>();
    for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(before[i] == 0, after[i] == 0) << name;
    EXPECT_LE(values_of(shared.graph, name).size(), 16U) << name;
  }
}

// Some inputs of a layer are made 16 times as loud, the weights that read them a 16th: the answers
// are the same, and weighed by their inputs the small weights keep their shape.
void expect_importance_helps(const Graph& graph, const std::string& layer) {
  const auto quality = [&](const std::string& recipe) {
    return snr_db(logits(graph), logits(compressed(graph, recipe).graph));
  };
  EXPECT_GT(quality("share:4,importance=inputs,only=" + layer),
            quality("share:4,only=" + layer) + 3)
      << layer;
}

void scale(Graph& graph, const std::string& name, float factor,
           const std::function<bool(size_t)>& chosen) {
  const auto values = graph.initializers.at(name).mutable_values<float>();
  for (size_t i = 0; i < values.size(); ++i)
    if (chosen(i)) values[i] *= factor;
}

TEST(Share, ImportanceOfInputsHelpsTheAnswers) {
  // fc1 [32, 144] reads 16 channels of 9 places; four of them are loud.
  Graph dense = toy::net();
  scale(dense, "conv2.weight", 16, [](size_t i) { return i < size_t{4 * 72}; });
  scale(dense, "conv2.bias", 16, [](size_t i) { return i < 4; });
  scale(dense, "fc1.weight", 1.0F / 16, [](size_t i) { return i % 144 < 36; });
  expect_importance_helps(dense, "fc1");
  // fc2 is a MatMul, [32, 4].
  Graph product = toy::net();
  scale(product, "fc1.weight", 16, [](size_t i) { return i < size_t{8 * 144}; });
  scale(product, "fc1.bias", 16, [](size_t i) { return i < 8; });
  scale(product, "fc2.weight", 1.0F / 16, [](size_t i) { return i < size_t{8 * 4}; });
  expect_importance_helps(product, "fc2");
  // conv2 in two groups: the first group's inputs are loud.
  Graph grouped = toy::grouped_net();
  scale(grouped, "conv1.weight", 16, [](size_t i) { return i < size_t{4 * 27}; });
  scale(grouped, "conv1.bias", 16, [](size_t i) { return i < 4; });
  const size_t half = static_cast<size_t>(grouped.initializers.at("conv2.weight").size()) / 2;
  scale(grouped, "conv2.weight", 1.0F / 16, [&](size_t i) { return i < half; });
  expect_importance_helps(grouped, "conv2");
}

TEST(Share, LayersMayHaveDifferentNumbers) {
  const Compressed shared = compressed(toy::net(), "share:5,skip=fc1+share:2,only=fc1", {});
  EXPECT_EQ(values_of(shared.graph, "fc1.weight").size(), 4U);
  EXPECT_GT(values_of(shared.graph, "conv2.weight").size(), 16U);
}

TEST(Share, FewValuesAreAWarning) {
  EXPECT_THAT(compressed(toy::net(), "share:4", {}).steps[0].warnings, testing::IsEmpty());
  EXPECT_THAT(compressed(toy::net(), "share:1", {}).steps[0].warnings,
              testing::Contains(HasSubstr("share:2 is better")));
}

TEST(Share, AFileHoldsTheValuesOnce) {
  const testing_files::TemporaryFolder folder;
  const Graph graph = toy::net();
  const Compressed shared = compressed(graph, "share:4,skip=conv1", {});
  const std::string path = folder.path() + "/shared.pare";
  ASSERT_TRUE(write_pare(shared.graph, path).ok());
  const Result<Graph> back = read_pare(path);
  ASSERT_TRUE(back.ok()) << back.status().message();
  for (const auto& [name, tensor] : shared.graph.initializers)
    EXPECT_EQ(std::memcmp(back->find_initializer(name)->data(), tensor.data(),
                          static_cast<size_t>(tensor.byte_count())),
              0)
        << name;
  ASSERT_TRUE(write_pare(graph, folder.path() + "/whole.pare").ok());
  const auto size = [](const std::string& file) { return MappedFile::open(file)->bytes().size(); };
  EXPECT_LT(3 * size(path), size(folder.path() + "/whole.pare"));
}

TEST(Share, WhatItCannotDo) {
  const auto message = [](const std::string& recipe) {
    const Result<Recipe> parsed = parse_recipe(recipe);
    return parsed.ok() ? compress(toy::net(), *parsed, {}).status().message()
                       : parsed.status().message();
  };
  EXPECT_THAT(message("share:9"), HasSubstr("9"));
  EXPECT_THAT(message("share:4,skip=fc9"), HasSubstr("fc9"));
  EXPECT_THAT(message("share:4,importance=inputs"), HasSubstr("training images"));
  EXPECT_THAT(message("share:4,skip=conv1;conv2;fc1;fc2"), HasSubstr("fc2"));
  EXPECT_THAT(message("prune:0.5,share=uniform+share:1"), HasSubstr("use 2 bits"));
}

}  // namespace
}  // namespace pare
