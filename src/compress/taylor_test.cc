// Taylor importance, with a trainer that hands out gradients of our choice.
#include "compress/taylor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "compress/compress.h"
#include "compress/prune.h"
#include "compress/toy.h"
#include "graph/couplings.h"

namespace pare {
namespace {

using ::testing::HasSubstr;

// Random gradients, the same for the same batch.
class DrawingTrainer : public Trainer {
 public:
  static constexpr int kBatches = 3;

  static std::map<std::string, Tensor> drawn(const Graph& graph, int batch) {
    std::map<std::string, Tensor> gradients;
    uint64_t stream = 0;
    for (const auto& [name, tensor] : graph.initializers) {
      Rng rng(static_cast<uint64_t>(batch), RngPurpose::kTest, stream++);
      if (tensor.type() != DType::kFloat32) continue;
      Tensor gradient(DType::kFloat32, tensor.shape());
      for (float& g : gradient.mutable_values<float>()) g = rng.normal();
      gradients[name] = std::move(gradient);
    }
    return gradients;
  }

  Result<Graph> finetune(const Graph& graph, const Dataset&, const FinetuneOptions&) override {
    return graph;
  }
  Status gradients(const Graph& graph, const Dataset& images, const GradientOptions&,
                   const TakeGradients& take) override {
    seen = images.size();
    for (int b = 0; b < kBatches; ++b) {
      std::map<std::string, Tensor> all = drawn(graph, b);
      for (const std::string& name : without) all.erase(name);
      for (const std::string& name : zeros) all[name] = Tensor(DType::kFloat32, all[name].shape());
      for (const std::string& name : infinite) all[name].mutable_values<float>()[0] = HUGE_VALF;
      PARE_RETURN_IF_ERROR(take(all));
    }
    return ok_status();
  }

  int64_t seen = 0;
  std::vector<std::string> without;
  std::vector<std::string> zeros;
  std::vector<std::string> infinite;
};

double by_hand(const Graph& graph, const std::string& name, size_t i) {
  double sum = 0;
  for (int b = 0; b < DrawingTrainer::kBatches; ++b) {
    const auto gradients = DrawingTrainer::drawn(graph, b);
    const double product = static_cast<double>(gradients.at(name).values<float>()[i]) *
                           static_cast<double>(graph.initializers.at(name).values<float>()[i]);
    sum += product * product / DrawingTrainer::kBatches;
  }
  return std::sqrt(sum);
}

TEST(Taylor, OfAWeightIsTheRootOfItsMeanSquare) {
  const Graph graph = toy::net();
  DrawingTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  const auto importance =
      weight_importance(graph, {"conv1.weight", "fc2.weight"}, *context.train, context);
  ASSERT_TRUE(importance.ok());
  ASSERT_EQ(importance->size(), 2U);
  for (const auto& [name, tensor] : *importance)
    for (const size_t i : {size_t{0}, size_t{17}, size_t{100}})
      EXPECT_NEAR(tensor.values<float>()[i], by_hand(graph, name, i), 1e-5) << name;
}

TEST(Taylor, PruneRemovesTheLeastImportant) {
  const Graph graph = toy::net();
  DrawingTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  const Compressed pruned =
      toy::compressed(graph, "prune:0.5,share=uniform,score=taylor,only=fc1", context);
  EXPECT_EQ(trainer.seen, context.calibration_images);
  const auto weights = pruned.graph.find_initializer("fc1.weight")->values<float>();
  double largest_gone = 0;
  double least_kept = HUGE_VAL;
  for (size_t i = 0; i < weights.size(); ++i) {
    double& bound = weights[i] == 0 ? largest_gone : least_kept;
    const double mine = by_hand(graph, "fc1.weight", i);
    bound = weights[i] == 0 ? std::max(bound, mine) : std::min(bound, mine);
  }
  EXPECT_LE(largest_gone, least_kept * (1 + 1e-5));
  EXPECT_EQ(count_zeros(*pruned.graph.find_initializer("fc1.weight")), 32 * 144 / 2);
}

// One threshold over all layers: what went is less important than what stayed, wherever it is.
TEST(Taylor, GlobalComparesOverLayers) {
  const Graph graph = toy::net();
  DrawingTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  const Compressed pruned = toy::compressed(graph, "prune:0.6,share=global,score=taylor", context);
  double largest_gone = 0;
  double least_kept = HUGE_VAL;
  int64_t zeros = 0;
  int64_t all = 0;
  for (const std::string& name : toy::weight_names()) {
    const auto weights = pruned.graph.find_initializer(name)->values<float>();
    all += static_cast<int64_t>(weights.size());
    for (size_t i = 0; i < weights.size(); i += 7) {
      const double mine = by_hand(graph, name, i);
      if (weights[i] == 0) largest_gone = std::max(largest_gone, mine);
      if (weights[i] != 0) least_kept = std::min(least_kept, mine);
    }
    zeros += count_zeros(*pruned.graph.find_initializer(name));
  }
  EXPECT_LE(largest_gone, least_kept * (1 + 1e-5));
  EXPECT_EQ(zeros, std::llround(0.6 * static_cast<double>(all)));
}

// A unit of fc1: its row of weights and its bias, of each batch squared as a sum.
TEST(Taylor, OfAUnitIsTheSquareOfItsSum) {
  const Graph graph = toy::net();
  DrawingTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  const Couplings couplings = find_couplings(graph).value();
  const auto importance = unit_importance(graph, couplings, *context.train, context);
  ASSERT_TRUE(importance.ok());
  const auto group = std::find_if(couplings.groups.begin(), couplings.groups.end(),
                                  [](const UnitGroup& g) { return g.name == "fc1"; });
  ASSERT_NE(group, couplings.groups.end());
  ASSERT_EQ(group->units.size(), 32U);
  for (const size_t unit : {size_t{0}, size_t{31}}) {
    double expected = 0;
    for (int b = 0; b < DrawingTrainer::kBatches; ++b) {
      const auto gradients = DrawingTrainer::drawn(graph, b);
      const auto product = [&](const std::string& name, size_t i) {
        return static_cast<double>(gradients.at(name).values<float>()[i]) *
               static_cast<double>(graph.initializers.at(name).values<float>()[i]);
      };
      double sum = product("fc1.bias", unit);
      for (size_t i = 0; i < 144; ++i) sum += product("fc1.weight", unit * 144 + i);
      expected += sum * sum / DrawingTrainer::kBatches;
    }
    EXPECT_NEAR((*importance)[static_cast<size_t>(group->first_unit) + unit], expected,
                1e-6 * expected);
  }
}

TEST(Taylor, ShrinkTakesTheLeastImportantUnits) {
  const Graph graph = toy::net();
  DrawingTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  const Compressed shrunk = toy::compressed(
      graph, "shrink,each=0.5,importance=taylor,multiple=1,means=drop,skip=conv1;conv2", context);
  const Couplings couplings = find_couplings(graph).value();
  const auto importance = unit_importance(graph, couplings, *context.train, context).value();
  const auto group = std::find_if(couplings.groups.begin(), couplings.groups.end(),
                                  [](const UnitGroup& g) { return g.name == "fc1"; });
  std::vector<double> of_fc1(importance.begin() + group->first_unit,
                             importance.begin() + group->first_unit + 32);
  std::vector<double> sorted = of_fc1;
  std::ranges::sort(sorted);
  std::vector<float> expected;
  const auto bias = graph.find_initializer("fc1.bias")->values<float>();
  for (size_t u = 0; u < 32; ++u)
    if (of_fc1[u] >= sorted[16]) expected.push_back(bias[u]);
  EXPECT_EQ(to_float_vector(*shrunk.graph.find_initializer("fc1.bias")), expected);
}

// A layer that no gradient reaches is pruned by magnitude, and that is said.
TEST(Taylor, WithoutGradientsMagnitudeDecides) {
  DrawingTrainer trainer;
  trainer.zeros = {"fc1.weight"};
  CompressContext context = toy::context();
  context.trainer = &trainer;
  const Compressed pruned =
      toy::compressed(toy::net(), "prune:0.5,share=uniform,score=taylor,only=fc1", context);
  EXPECT_THAT(pruned.steps[0].warnings,
              testing::Contains(HasSubstr("the gradient of layer 'fc1' is zero")));
  const Compressed plain = toy::compressed(toy::net(), "prune:0.5,share=uniform,only=fc1", context);
  EXPECT_EQ(to_float_vector(*pruned.graph.find_initializer("fc1.weight")),
            to_float_vector(*plain.graph.find_initializer("fc1.weight")));
}

TEST(Taylor, GradientsThatAreNotFiniteAreAnError) {
  DrawingTrainer trainer;
  trainer.infinite = {"fc1.weight"};
  CompressContext context = toy::context();
  context.trainer = &trainer;
  for (const char* recipe :
       {"prune:0.5,share=uniform,score=taylor", "shrink:0.8,importance=taylor"})
    EXPECT_EQ(compress(toy::net(), parse_recipe(recipe).value(), context).status().code(),
              StatusCode::kNumeric)
        << recipe;
}

TEST(Taylor, AWeightWithoutAGradientIsNamed) {
  DrawingTrainer trainer;
  trainer.without = {"conv2.weight"};
  CompressContext context = toy::context();
  context.trainer = &trainer;
  const Recipe recipe = parse_recipe("prune:0.5,share=uniform,score=taylor").value();
  EXPECT_THAT(compress(toy::net(), recipe, context).status().message(),
              HasSubstr("weight 'conv2.weight' has no gradient"));
  const Recipe units = parse_recipe("shrink:0.8,importance=taylor").value();
  EXPECT_THAT(compress(toy::net(), units, context).status().message(),
              HasSubstr("weight 'conv2.weight' has no gradient"));
}

}  // namespace
}  // namespace pare
