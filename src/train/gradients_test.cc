#include "train/gradients.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "train/executor.h"
#include "train/finetune.h"
#include "train/stepper.h"
#include "train/tiny_run.h"

namespace pare {
namespace {

// Against differences of the loss, weight by weight: 7 images in batches of 4 and 3.
TEST(Gradients, AreThoseOfEachBatchsLoss) {
  const Graph graph = tiny_graph();
  const auto images = tiny_images(7, 11);
  std::vector<std::map<std::string, std::vector<float>>> batches;
  const auto keep = [&](const std::map<std::string, Tensor>& gradients) {
    auto& mine = batches.emplace_back();
    for (const auto& [name, tensor] : gradients) mine[name] = to_float_vector(tensor);
    return ok_status();
  };
  ASSERT_TRUE(
      make_torch_trainer()->gradients(graph, *images, {.batch_size = 4, .threads = 1}, keep).ok());
  ASSERT_EQ(batches.size(), 2U);
  const auto loss = [&](const Graph& g, std::vector<int64_t> places) {
    auto executor = TorchExecutor::create(g, {.trainable = false}).value();
    const auto part = subset(images, std::move(places), "part");
    return evaluate(executor, part, {.batch_size = 4}).value().loss;
  };
  const std::vector<int64_t> first = {0, 1, 2, 3};
  const std::vector<int64_t> second = {4, 5, 6};
  constexpr float kStep = 1e-3F;
  for (const char* name : {"conv1.weight", "bn2.scale", "dense.weight", "dense.bias"}) {
    for (const size_t at : {size_t{0}, size_t{3}}) {
      Graph above = graph;
      Graph below = graph;
      above.initializers[name].mutable_values<float>()[at] += kStep;
      below.initializers[name].mutable_values<float>()[at] -= kStep;
      for (const size_t b : {size_t{0}, size_t{1}}) {
        const auto& places = b == 0 ? first : second;
        const double expected = (loss(above, places) - loss(below, places)) / (2 * kStep);
        EXPECT_NEAR(batches[b].at(name).at(at), expected, 1e-3 + 0.02 * std::fabs(expected))
            << name << " " << at << " batch " << b;
      }
    }
  }
}

TEST(Gradients, WhatIsAskedForThemMayStopThem) {
  const auto images = tiny_images(8, 11);
  int calls = 0;
  const Status status = make_torch_trainer()->gradients(
      tiny_graph(), *images, {.batch_size = 2}, [&](const std::map<std::string, Tensor>&) {
        return ++calls == 2 ? invalid_argument("enough") : ok_status();
      });
  EXPECT_EQ(status.message(), "enough");
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace pare
