// finetune, with a trainer that keeps a record of what it is asked.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "compress/compress.h"
#include "compress/prune.h"
#include "compress/toy.h"

namespace pare {
namespace {

using toy::compressed;

class FakeTrainer : public Trainer {
 public:
  Result<Graph> finetune(const Graph& graph, const Dataset& train,
                         const FinetuneOptions& options) override {
    started_from = graph;
    teacher = *options.teacher;
    seen = options;
    images = train.size();
    Graph current = graph;
    // "Trains": every weight grows a little; masks hold as they come.
    for (const double progress : {0.0, 0.35, 0.7, 1.0}) {
      for (const std::string& name : toy::weight_names()) {
        for (float& w : current.initializers[name].mutable_values<float>()) w *= 1.01F;
      }
      if (!options.masks) continue;
      auto masks = options.masks(progress, current);
      if (!masks.ok()) return masks.status();
      auto& shares = masked.emplace_back();
      for (const auto& [name, mask] : *masks) {
        const auto keep = mask.values<uint8_t>();
        shares[name] = static_cast<double>(std::count(keep.begin(), keep.end(), 0)) /
                       static_cast<double>(keep.size());
        current.initializers[name] = apply_mask(current.initializers[name], mask);
      }
    }
    return current;
  }
  Status gradients(const Graph&, const Dataset&, const GradientOptions&,
                   const TakeGradients&) override {
    return internal_error("nobody asks for gradients here");
  }

  Graph started_from;
  Graph teacher;
  FinetuneOptions seen;
  int64_t images = 0;
  std::vector<std::map<std::string, double>> masked;  // share removed, at each progress
};

TEST(Finetune, GradualFromTheUnprunedModel) {
  FakeTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  context.seed = 5;
  const Compressed tuned =
      compressed(toy::net(), "prune:0.8,share=uniform+finetune:3,lr=0.002", context);
  EXPECT_EQ(trainer.seen.epochs, 3);
  EXPECT_EQ(trainer.seen.learning_rate, 0.002);
  EXPECT_EQ(trainer.seen.seed, 5U);
  EXPECT_EQ(trainer.images, context.train->size());
  // Starts from whole weights, with the unpruned model as the teacher.
  for (const std::string& name : toy::weight_names()) {
    EXPECT_EQ(count_zeros(*trainer.started_from.find_initializer(name)), 0) << name;
    EXPECT_EQ(to_float_vector(*trainer.teacher.find_initializer(name)),
              to_float_vector(*toy::net().find_initializer(name)));
  }
  // s(p) = 0.8 (1 - (1 - p / 0.7)^3)
  ASSERT_EQ(trainer.masked.size(), 4U);
  for (const std::string& name : toy::weight_names()) {
    EXPECT_EQ(trainer.masked[0][name], 0) << name;
    EXPECT_NEAR(trainer.masked[1][name], 0.8 * 0.875, 0.01) << name;
    EXPECT_NEAR(trainer.masked[2][name], 0.8, 0.01) << name;
    EXPECT_NEAR(trainer.masked[3][name], 0.8, 0.01) << name;
    const Tensor& weight = *tuned.graph.find_initializer(name);
    EXPECT_EQ(count_zeros(weight), std::llround(0.8 * static_cast<double>(weight.size()))) << name;
  }
}

TEST(Finetune, FromThePrunedModelKeepsItsMasks) {
  FakeTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  const Compressed tuned =
      compressed(toy::net(), "prune:0.5,share=uniform+finetune:1,from=pruned", context);
  const Compressed pruned = compressed(toy::net(), "prune:0.5,share=uniform", {});
  for (const std::string& name : toy::weight_names()) {
    EXPECT_NEAR(trainer.masked[0][name], 0.5, 0.01);
    const auto before = to_float_vector(*pruned.graph.find_initializer(name));
    const auto after = to_float_vector(*tuned.graph.find_initializer(name));
    for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(before[i] == 0, after[i] == 0);
  }
}

// The second one starts from what the first one trained, and prunes no other weights.
TEST(Finetune, ASecondOneGoesOnFromTheFirst) {
  FakeTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  const std::string recipe = "prune:0.5,share=uniform+finetune:1";
  const Compressed once = compressed(toy::net(), recipe, context);
  trainer.masked.clear();
  const Compressed twice = compressed(toy::net(), recipe + "+finetune:2", context);
  ASSERT_EQ(trainer.masked.size(), 8U);
  for (const std::string& name : toy::weight_names()) {
    const auto first = to_float_vector(*once.graph.find_initializer(name));
    EXPECT_EQ(to_float_vector(*trainer.started_from.find_initializer(name)), first) << name;
    EXPECT_NEAR(trainer.masked[4][name], 0.5, 0.01) << name;
    const auto second = to_float_vector(*twice.graph.find_initializer(name));
    for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i] == 0, second[i] == 0);
  }
}

// Masks of a pattern, or of a score that looks at inputs, hold from the first step on; those of
// plain magnitude beside them grow.
TEST(Finetune, PatternsAndScoresKeepTheirMasks) {
  FakeTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  for (const std::string prune :
       {"prune:0.5,pattern=2:4,only=fc1", "prune:0.5,share=uniform,score=sparsegpt,only=fc1"}) {
    trainer.masked.clear();
    const Compressed pruned = compressed(toy::net(), prune, context);
    const auto want = to_float_vector(*pruned.graph.find_initializer("fc1.weight"));
    const Compressed tuned =
        compressed(toy::net(), prune + "+prune:0.5,share=uniform,only=conv2+finetune:1", context);
    EXPECT_EQ(to_float_vector(*trainer.started_from.find_initializer("fc1.weight")), want);
    EXPECT_EQ(count_zeros(*trainer.started_from.find_initializer("conv2.weight")), 0);
    ASSERT_EQ(trainer.masked.size(), 4U);
    for (const auto& masked : trainer.masked) EXPECT_EQ(masked.at("fc1.weight"), 0.5) << prune;
    EXPECT_EQ(trainer.masked[0].at("conv2.weight"), 0.0);
    EXPECT_EQ(trainer.masked[3].at("conv2.weight"), 0.5);
    const auto after = to_float_vector(*tuned.graph.find_initializer("fc1.weight"));
    for (size_t i = 0; i < want.size(); ++i) EXPECT_EQ(want[i] == 0, after[i] == 0) << i;
  }
}

// Layers pruned one step after the other all start whole.
TEST(Finetune, SeveralPruningStepsStartFromWholeWeights) {
  FakeTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  compressed(toy::net(),
             "prune:0.5,share=uniform,only=conv2+prune:0.5,share=uniform,only=fc1+finetune:1",
             context);
  for (const char* weight : {"conv2.weight", "fc1.weight"}) {
    EXPECT_EQ(count_zeros(*trainer.started_from.find_initializer(weight)), 0) << weight;
    EXPECT_EQ(trainer.masked[3].at(weight), 0.5) << weight;
  }
}

// What changed the weights after pruning is not undone: training starts from it, with its masks.
TEST(Finetune, StartsFromWhatWasRoundedAfterPruning) {
  FakeTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  const std::string recipe = "prune:0.5,share=uniform+round";
  const Compressed rounded = compressed(toy::net(), recipe, context);
  compressed(toy::net(), recipe + "+finetune:1", context);
  for (const std::string& name : toy::weight_names()) {
    EXPECT_EQ(to_float_vector(*trainer.started_from.find_initializer(name)),
              to_float_vector(*rounded.graph.find_initializer(name)));
    EXPECT_NEAR(trainer.masked[0][name], 0.5, 0.01);
  }
}

TEST(Rewind, WeightsGoBackAndMasksStay) {
  FakeTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  const Graph graph = toy::net();
  const std::string round = "prune:0.5,share=uniform+finetune:1+prune:0.75,share=uniform";
  const Compressed pruned = compressed(graph, round, context);
  const Compressed rewound = compressed(graph, round + "+rewind", context);
  for (const std::string& name : toy::weight_names()) {
    const std::vector<float> before = to_float_vector(*graph.find_initializer(name));
    const std::vector<float> trained = to_float_vector(*pruned.graph.find_initializer(name));
    const std::vector<float> after = to_float_vector(*rewound.graph.find_initializer(name));
    int64_t zeros = 0;
    for (size_t i = 0; i < before.size(); ++i) {
      EXPECT_EQ(after[i], trained[i] == 0 ? 0.0F : before[i]);
      zeros += after[i] == 0 ? 1 : 0;
    }
    EXPECT_NEAR(static_cast<double>(zeros) / static_cast<double>(before.size()), 0.75, 0.01);
  }
  // What trains next begins there, masks as they are from the first step.
  trainer.masked.clear();
  compressed(graph, round + "+rewind+finetune:1", context);
  for (const std::string& name : toy::weight_names()) {
    EXPECT_EQ(to_float_vector(*trainer.started_from.find_initializer(name)),
              to_float_vector(*rewound.graph.find_initializer(name)));
    EXPECT_NEAR(trainer.masked[4].at(name), 0.75, 0.01);
  }
}

TEST(Rewind, AModelOfAnotherShapeIsRefused) {
  const Recipe recipe = parse_recipe("shrink,each=0.5,importance=l2,means=drop+rewind").value();
  EXPECT_NE(compress(toy::net(), recipe, {}).status().message().find("rewind: '"),
            std::string::npos);
}

TEST(Finetune, AfterShareTheValuesAreTrained) {
  FakeTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  const Compressed shared = compressed(toy::net(), "prune:0.5,share=uniform+share:3", context);
  const Compressed tuned =
      compressed(toy::net(), "prune:0.5,share=uniform+share:3+finetune:1", context);
  ASSERT_EQ(trainer.seen.shared.size(), toy::weight_names().size());
  for (const std::string& name : toy::weight_names()) {
    const auto index = trainer.seen.shared.at(name).values<uint8_t>();
    const std::vector<float> weights = to_float_vector(*shared.graph.find_initializer(name));
    EXPECT_EQ(weights, to_float_vector(*trainer.started_from.find_initializer(name)));
    std::map<uint8_t, float> value_of = {{uint8_t{0}, 0.0F}};
    for (size_t i = 0; i < weights.size(); ++i)
      EXPECT_EQ(value_of.emplace(index[i], weights[i]).first->second, weights[i]);
    EXPECT_LE(value_of.size(), 8U);
  }
  EXPECT_NE(tuned.steps[2].summary.find("shared values kept equal"), std::string::npos);
  // Two steps of share, each with its layers.
  compressed(toy::net(), "share:3,only=fc1+share:2,only=fc2+finetune:1", context);
  EXPECT_EQ(trainer.seen.shared.size(), 2U);
  // Weights that were changed since share nothing.
  compressed(toy::net(), "share:3+prune:0.5,share=uniform+finetune:1", context);
  EXPECT_TRUE(trainer.seen.shared.empty());
}

TEST(Finetune, WithoutPruningIsPlainDistillation) {
  FakeTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  compressed(toy::net(), "finetune:2", context);
  EXPECT_FALSE(trainer.seen.masks);
  EXPECT_EQ(trainer.seen.distill_weight, 0.9);
}

}  // namespace
}  // namespace pare
