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

using Gradients = std::map<std::string, std::vector<float>>;

std::vector<Gradients> gradients_of(const Graph& graph, const Dataset& images,
                                    const GradientOptions& options) {
  std::vector<Gradients> batches;
  const Status status = make_torch_trainer()->gradients(
      graph, images, options, [&](const std::map<std::string, Tensor>& gradients) {
        Gradients& mine = batches.emplace_back();
        for (const auto& [name, tensor] : gradients) mine[name] = to_float_vector(tensor);
        return ok_status();
      });
  EXPECT_TRUE(status.ok()) << status.message();
  return batches;
}

double loss_of(const Graph& graph, const std::shared_ptr<const Dataset>& images) {
  auto executor = TorchExecutor::create(graph, {.trainable = false}).value();
  return evaluate(executor, images, {.batch_size = images->size()}).value().loss;
}

// Against differences of the loss, weight by weight.
TEST(Gradients, AreThoseOfTheLoss) {
  const Graph graph = tiny_graph();
  const auto images = tiny_images(7, 11);
  const auto batches = gradients_of(graph, *images, {.batch_size = 7, .threads = 1});
  ASSERT_EQ(batches.size(), 1U);
  constexpr float kStep = 1e-3F;
  for (const char* name : {"conv1.weight", "bn2.scale", "dense.weight", "dense.bias"}) {
    for (const size_t at : {size_t{0}, size_t{3}}) {
      Graph above = graph;
      Graph below = graph;
      above.initializers[name].mutable_values<float>()[at] += kStep;
      below.initializers[name].mutable_values<float>()[at] -= kStep;
      const double expected = (loss_of(above, images) - loss_of(below, images)) / (2 * kStep);
      EXPECT_NEAR(batches[0].at(name).at(at), expected, 1e-3 + 0.02 * std::fabs(expected))
          << name << " " << at;
    }
  }
}

// Batches of one size have the whole set's gradient as their mean, whichever images are in which.
TEST(Gradients, EachImageIsInOneBatch) {
  const Graph graph = tiny_graph();
  const auto images = tiny_images(12, 11);
  const auto whole = gradients_of(graph, *images, {.batch_size = 12});
  const auto batches = gradients_of(graph, *images, {.batch_size = 4});
  const auto others = gradients_of(graph, *images, {.batch_size = 4, .seed = 1});
  ASSERT_EQ(batches.size(), 3U);
  for (const auto& [name, all] : whole[0])
    for (size_t i = 0; i < all.size(); ++i) {
      const float mean =
          (batches[0].at(name)[i] + batches[1].at(name)[i] + batches[2].at(name)[i]) / 3;
      EXPECT_NEAR(mean, all[i], 1e-4F + 1e-3F * std::fabs(all[i])) << name;
    }
  EXPECT_NE(batches[0], others[0]);
  EXPECT_EQ(batches, gradients_of(graph, *images, {.batch_size = 4}));
}

TEST(Gradients, ALossThatIsNotANumberIsAnError) {
  Graph graph = tiny_graph();
  graph.initializers["dense.bias"].mutable_values<float>()[0] = NAN;
  const auto images = tiny_images(8, 11);
  const Status status = make_torch_trainer()->gradients(
      graph, *images, {}, [](const std::map<std::string, Tensor>&) { return ok_status(); });
  EXPECT_EQ(status.code(), StatusCode::kNumeric);
}

// Values of weights that were shared badly get better, and so does the model.
TEST(Gradients, TrainingSharedValuesLowersTheLoss) {
  const auto images = tiny_images(480, 11);
  Graph graph = tiny_graph();
  std::map<std::string, Tensor> shared;
  for (const char* name : {"conv1.weight", "conv2.weight", "dense.weight"}) {
    Tensor& weight = graph.initializers[name];
    Tensor index(DType::kUInt8, weight.shape());
    const auto w = weight.mutable_values<float>();
    for (size_t i = 0; i < w.size(); ++i) {
      const bool zero = i % 5 == 0;
      index.mutable_values<uint8_t>()[i] = zero ? 0 : w[i] > 0 ? 2 : 1;
      w[i] = zero ? 0.0F : w[i] > 0 ? 0.02F : -0.2F;
    }
    shared[name] = std::move(index);
  }
  FinetuneOptions options;
  options.epochs = 3;
  options.batch_size = 32;
  options.learning_rate = 0.1;
  options.threads = 1;
  options.shared = shared;
  const auto trained = make_torch_trainer()->finetune(graph, *images, options);
  ASSERT_TRUE(trained.ok()) << trained.status().message();
  EXPECT_LT(loss_of(*trained, images), loss_of(graph, images) - 0.1);
  for (const auto& [name, index] : shared) {
    const auto w = trained->initializers.at(name).values<float>();
    std::map<uint8_t, float> value = {{uint8_t{0}, 0.0F}};
    for (size_t i = 0; i < w.size(); ++i)
      EXPECT_EQ(value.emplace(index.values<uint8_t>()[i], w[i]).first->second, w[i]) << name;
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
