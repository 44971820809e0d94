// The update rules, the loss and the running average, against their formulas worked out in double.

#include "train/optimiser.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "train/losses.h"
#include "train/stepper.h"
#include "train/tiny_run.h"

namespace pare {
namespace {

// Two parameters of one weight each: one that decays, one that does not.
std::vector<TorchExecutor::Named> two_parameters() {
  std::vector<TorchExecutor::Named> out;
  for (const bool decay : {true, false}) {
    at::Tensor w = at::full({1}, 2.0F);
    w.requires_grad_(true);
    out.push_back({decay ? "weight" : "bias", w, decay});
  }
  return out;
}

void set_gradients(std::vector<TorchExecutor::Named>& parameters, float g) {
  for (auto& p : parameters) p.value.mutable_grad() = at::full({1}, g);
}

double number(const at::Tensor& t) { return t.item().toDouble(); }

const std::vector<double> kGradients = {0.5, -1.0, 0.25, 3.0};
constexpr double kRate = 0.1;

TEST(Optimiser, SgdWithMomentumAndDecayFollowsItsFormula) {
  for (const bool nesterov : {true, false}) {
    TrainRecipe::Optimiser settings = {.kind = "sgd", .weight_decay = 0.01};
    settings.nesterov = nesterov;
    auto parameters = two_parameters();
    Optimiser optimiser(parameters, settings);
    double w[] = {2, 2};
    double m[] = {0, 0};
    for (const double gradient : kGradients) {
      set_gradients(parameters, static_cast<float>(gradient));
      optimiser.step(kRate);
      for (int i = 0; i < 2; ++i) {
        const double g = gradient + (i == 0 ? 0.01 : 0.0) * w[i];
        m[i] = 0.9 * m[i] + g;
        w[i] -= kRate * (nesterov ? g + 0.9 * m[i] : m[i]);
        EXPECT_NEAR(number(parameters[static_cast<size_t>(i)].value), w[i], 1e-5);
      }
      EXPECT_FALSE(parameters[0].value.grad().defined());
    }
    EXPECT_GT(std::fabs(w[0] - w[1]), 1e-3);  // decay made a difference
  }
}

TEST(Optimiser, AdamWFollowsItsFormula) {
  const TrainRecipe::Optimiser settings = {.kind = "adamw", .weight_decay = 0.05};
  auto parameters = two_parameters();
  Optimiser optimiser(parameters, settings);
  double w[] = {2, 2};
  double m[] = {0, 0};
  double v[] = {0, 0};
  int t = 0;
  for (const double g : kGradients) {
    ++t;
    set_gradients(parameters, static_cast<float>(g));
    optimiser.step(kRate);
    for (int i = 0; i < 2; ++i) {
      w[i] -= kRate * (i == 0 ? 0.05 : 0.0) * w[i];
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      const double mean = m[i] / (1 - std::pow(0.9, t));
      const double square = v[i] / (1 - std::pow(0.999, t));
      w[i] -= kRate * mean / (std::sqrt(square) + 1e-8);
      EXPECT_NEAR(number(parameters[static_cast<size_t>(i)].value), w[i], 1e-5);
    }
  }
}

TEST(Optimiser, ClipsAllGradientsTogether) {
  auto parameters = two_parameters();
  Optimiser optimiser(parameters, {});
  parameters[0].value.mutable_grad() = at::full({1}, 3.0F);
  parameters[1].value.mutable_grad() = at::full({1}, -4.0F);
  EXPECT_NEAR(optimiser.clip(10), 5, 1e-6);  // within the limit: untouched
  EXPECT_EQ(number(parameters[0].value.grad()), 3);
  EXPECT_NEAR(optimiser.clip(1), 5, 1e-6);
  EXPECT_NEAR(number(parameters[0].value.grad()), 0.6, 1e-6);
  EXPECT_NEAR(number(parameters[1].value.grad()), -0.8, 1e-6);
}

TEST(WeightAverage, FollowsItsFormula) {
  auto source = TorchExecutor::create(tiny_graph(1)).value();
  auto average = TorchExecutor::create(tiny_graph(2), {.trainable = false}).value();
  const auto value = [](const TorchExecutor& e) {
    return number(e.parameters()[0].value.detach().flatten()[5]);
  };
  double expected = value(average);
  WeightAverage rule(source, average, 0.5);
  for (int64_t t = 0; t < 20; ++t) {
    rule.update(t);
    const double now = static_cast<double>(t);
    const double decay = std::min(0.5, (1 + now) / (10 + now));
    expected += (1 - decay) * (value(source) - expected);
    EXPECT_NEAR(value(average), expected, 1e-6);
  }
  EXPECT_NE(value(average), value(source));
}

TEST(Losses, SmoothedAndMixedLabelsFollowTheFormula) {
  const at::Tensor scores = at::tensor({1.0F, 2.0F, 0.5F, -1.0F, 0.0F, 3.0F}).reshape({2, 3});
  TorchBatch batch;
  batch.labels = at::tensor({0, 2}, at::kLong);
  batch.mixed_labels = at::tensor({1, 2}, at::kLong);
  batch.mixed_weights = at::tensor({0.25F, 0.0F});
  const double e1 = std::log(std::exp(1.0) + std::exp(2.0) + std::exp(0.5));
  const double e2 = std::log(std::exp(-1.0) + std::exp(0.0) + std::exp(3.0));
  const double label = (0.75 * (e1 - 1) + 0.25 * (e1 - 2) + (e2 - 3)) / 2;
  EXPECT_NEAR(number(label_loss(scores, batch, 0)), label, 1e-5);
  const double spread = ((3 * e1 - 3.5) / 3 + (3 * e2 - 2) / 3) / 2;
  EXPECT_NEAR(number(label_loss(scores, batch, 0.1)), 0.9 * label + 0.1 * spread, 1e-5);
}

TEST(Losses, TheTeachersShareIsAKullbackLeiblerDivergence) {
  const std::vector<double> s = {1, 2, 0.5};
  const std::vector<double> t = {0, 3, -1};
  const double temperature = 2;
  double sum_s = 0;
  double sum_t = 0;
  for (size_t k = 0; k < 3; ++k) {
    sum_s += std::exp(s[k] / temperature);
    sum_t += std::exp(t[k] / temperature);
  }
  double expected = 0;
  for (size_t k = 0; k < 3; ++k) {
    const double p = std::exp(s[k] / temperature) / sum_s;
    const double q = std::exp(t[k] / temperature) / sum_t;
    expected += q * std::log(q / p);
  }
  const at::Tensor scores = at::tensor({1.0F, 2.0F, 0.5F}).reshape({1, 3});
  const at::Tensor taught = at::tensor({0.0F, 3.0F, -1.0F}).reshape({1, 3});
  EXPECT_NEAR(number(teacher_loss(scores, taught, temperature)), 4 * expected, 1e-5);
  EXPECT_NEAR(number(teacher_loss(taught, taught, temperature)), 0, 1e-6);
}

// Without batch norm and dropout, two batches gathered are one of twice the size.
TEST(Stepper, GatheredBatchesMakeTheStepOfALargeOne) {
  Graph graph = tiny_graph();
  for (Node& node : graph.nodes) {
    for (std::string& input : node.inputs) {
      if (input.starts_with("bn")) input.replace(0, 2, "conv");  // past the norms
      if (input == "drop") input = "flatten";
    }
  }
  std::erase_if(graph.nodes,
                [](const Node& n) { return n.op == "BatchNormalization" || n.op == "Dropout"; });
  remove_unused(graph);
  ASSERT_TRUE(check_graph(graph).ok());
  const auto data = tiny_images(32, 5);
  const auto batch_of = [&](int64_t first, int64_t count) {
    Batch batch;
    batch.count = batch.whole = count;
    batch.pixels.resize(static_cast<size_t>(count * data->image_shape().size()));
    for (int64_t i = 0; i < count; ++i) {
      const auto image = std::span(batch.pixels).subspan(static_cast<size_t>(i * 192), 192);
      EXPECT_TRUE(data->read_image(first + i, image).ok());
      batch.labels.push_back(data->label(first + i));
    }
    batch.mixed = {batch.labels, std::vector<float>(static_cast<size_t>(count), 0.0F)};
    return batch;
  };
  std::vector<at::Tensor> weights;
  for (const int64_t parts : {1, 2}) {
    auto stepper = Stepper::create(graph, nullptr, {}, at::kCPU).value();
    for (int64_t p = 0; p < parts; ++p) {
      Batch batch = batch_of(p * 32 / parts, 32 / parts);
      ASSERT_TRUE(stepper->accumulate(batch, data->image_shape(), parts).ok());
    }
    ASSERT_TRUE(stepper->update(0, 0.1).ok());
    weights.push_back(stepper->network().parameters()[0].value.detach().clone());
  }
  const auto start = TorchExecutor::create(graph).value();
  EXPECT_GT(number((weights[0] - start.parameters()[0].value.detach()).abs().max()), 1e-3);
  EXPECT_LT(number((weights[0] - weights[1]).abs().max()), 1e-6);
}

// After recalibration the averaged weights see the statistics that they cause themselves.
TEST(Stepper, RecalibrationMeasuresTheStatisticsOfTheAverage) {
  TrainRecipe recipe;
  recipe.train.batch_size = 480;  // one batch is the whole set
  recipe.ema.decay = 0.9;
  recipe.ema.recalibration_batches = 1;
  const auto data = tiny_images(480, 11);
  auto stepper = Stepper::create(tiny_graph(), nullptr, recipe, at::kCPU).value();
  ASSERT_TRUE(stepper->recalibrate(data).ok());
  const Graph graph = stepper->result().to_graph().value();
  // By hand: the first convolution of every image, its mean over images and places.
  const Tensor& weight = graph.initializers.at("conv1.weight");
  std::vector<uint8_t> image(192);
  double sum = 0;
  double squares = 0;
  for (int64_t i = 0; i < data->size(); ++i) {
    ASSERT_TRUE(data->read_image(i, image).ok());
    for (int y = 0; y < 8; ++y) {
      for (int x = 0; x < 8; ++x) {
        double v = 0;
        for (int c = 0; c < 3; ++c) {
          for (int ky = 0; ky < 3; ++ky) {
            for (int kx = 0; kx < 3; ++kx) {
              const int sy = y + ky - 1;
              const int sx = x + kx - 1;
              if (sy < 0 || sy > 7 || sx < 0 || sx > 7) continue;
              const double pixel = image[static_cast<size_t>(c * 64 + sy * 8 + sx)];
              v += weight.values<float>()[static_cast<size_t>(c * 9 + ky * 3 + kx)] *
                   (pixel / 128 - 0.7);
            }
          }
        }
        sum += v;
        squares += v * v;
      }
    }
  }
  const double n = 480.0 * 64;
  const double mean = sum / n;
  EXPECT_NEAR(graph.initializers.at("bn1.mean").values<float>()[0], mean, 1e-4);
  EXPECT_NEAR(graph.initializers.at("bn1.variance").values<float>()[0],
              (squares / n - mean * mean) * n / (n - 1), 1e-3);
}

}  // namespace
}  // namespace pare
