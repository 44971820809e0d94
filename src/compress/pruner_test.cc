// Scores and patterns: against the papers' formulas written out, and through recipes.
#include "compress/pruner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "compress/calibrate.h"
#include "compress/compress.h"
#include "compress/elimination.h"
#include "compress/prune.h"
#include "compress/toy.h"

namespace pare {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using toy::compressed;

std::vector<WeightLayer> layers_of(const Graph& graph) { return find_weight_layers(graph); }

int64_t all_of(const Graph& graph, int64_t (*count)(const Tensor&)) {
  int64_t sum = 0;
  for (const std::string& name : toy::weight_names()) sum += count(*graph.find_initializer(name));
  return sum;
}
int64_t size_of(const Tensor& tensor) { return tensor.size(); }

// fc1's inputs on the calibration images, one row an image.
std::vector<std::vector<double>> fc1_inputs(const Graph& graph, const CompressContext& context) {
  ForwardOptions options;
  options.keep = {"flatten"};
  std::vector<std::vector<double>> rows;
  options.show = [&rows](const std::string&, const Tensor& value) {
    const auto values = value.values<float>();
    for (size_t at = 0; at < values.size(); at += 144)
      rows.emplace_back(values.begin() + static_cast<int64_t>(at),
                        values.begin() + static_cast<int64_t>(at) + 144);
    return ok_status();
  };
  EXPECT_TRUE(forward(graph, *draw_images(context)->calibration, options).ok());
  return rows;
}

TEST(Pruner, WandaIsMagnitudeTimesNormWithinAnOutput) {
  const Graph graph = toy::net();
  const CompressContext context = toy::context();
  auto pruner = *Pruner::create(graph, layers_of(graph), PruneScore::kWanda, {}, context);
  const auto pruned = pruner->prune("fc1.weight", 32 * 100);
  ASSERT_TRUE(pruned.ok()) << pruned.status().message();
  std::vector<double> norms(144, 0.0);
  for (const auto& row : fc1_inputs(graph, context))
    for (size_t i = 0; i < 144; ++i) norms[i] += row[i] * row[i];
  const auto weights = graph.find_initializer("fc1.weight")->values<float>();
  const auto after = pruned->weight.values<float>();
  for (size_t o = 0; o < 32; ++o) {
    std::vector<std::pair<double, size_t>> scores;
    for (size_t i = 0; i < 144; ++i)
      scores.emplace_back(std::fabs(weights[o * 144 + i]) * std::sqrt(norms[i]), i);
    std::stable_sort(scores.begin(), scores.end());
    for (size_t n = 0; n < 144; ++n) {
      const size_t at = o * 144 + scores[n].second;
      EXPECT_EQ(after[at], n < 100 ? 0.0F : weights[at]) << o << " " << n;
    }
  }
}

// SparseGPT, section 3: masks by w² / [H^-1]_jj for 128 columns at a time, errors made up for by
// all columns behind; the inverse written out and eliminated column by column.
std::vector<std::vector<double>> sparsegpt(std::vector<std::vector<double>> w,
                                           const std::vector<std::vector<double>>& inputs,
                                           double share) {
  const size_t k = w[0].size();
  elimination::Matrix h(k, std::vector<double>(k, 0.0));
  for (const auto& x : inputs)
    for (size_t i = 0; i < k; ++i)
      for (size_t j = 0; j < k; ++j) h[i][j] += x[i] * x[j];
  double mean = 0;
  for (size_t i = 0; i < k; ++i) mean += h[i][i] / static_cast<double>(k);
  for (size_t i = 0; i < k; ++i) h[i][i] += 0.01 * mean;
  std::vector<double> diagonal(k);
  elimination::settle(std::vector<double>(k, 0.0), h, [&](size_t j, double, double d) {
    diagonal[j] = d;
    return 0.0;
  });
  std::vector<std::vector<bool>> gone(w.size(), std::vector<bool>(k, false));
  elimination::Matrix left = elimination::inverse(h);
  for (size_t j = 0; j < k; ++j) {
    if (j % 128 == 0) {
      const size_t last = std::min(k, j + 128);
      std::vector<std::pair<double, std::pair<size_t, size_t>>> scores;
      for (size_t r = 0; r < w.size(); ++r)
        for (size_t c = j; c < last; ++c)
          scores.push_back({w[r][c] * w[r][c] / diagonal[c], {r, c}});
      std::sort(scores.begin(), scores.end());
      const auto count =
          static_cast<size_t>(std::llround(share * static_cast<double>(w.size() * (last - j))));
      for (size_t n = 0; n < count; ++n)
        gone[scores[n].second.first][scores[n].second.second] = true;
    }
    for (size_t r = 0; r < w.size(); ++r) {
      if (!gone[r][j]) continue;
      const double e = w[r][j] / left[j][j];
      for (size_t l = j; l < k; ++l) w[r][l] -= e * left[j][l];
      w[r][j] = 0;
    }
    const std::vector<double> row = left[j];
    for (size_t a = 0; a < k; ++a)
      for (size_t b = 0; b < k; ++b) left[a][b] -= row[a] * row[b] / row[j];
  }
  return w;
}

TEST(Pruner, SparseGptIsTheFormulaOfThePaper) {
  const Graph graph = toy::net();
  const CompressContext context = toy::context();
  auto pruner = *Pruner::create(graph, layers_of(graph), PruneScore::kSparseGpt, {}, context);
  const auto pruned = pruner->prune("fc1.weight", 32 * 144 * 5 / 8);
  ASSERT_TRUE(pruned.ok()) << pruned.status().message();
  const auto weights = graph.find_initializer("fc1.weight")->values<float>();
  std::vector<std::vector<double>> w(32);
  for (size_t o = 0; o < 32; ++o)
    w[o].assign(weights.begin() + static_cast<int64_t>(o) * 144,
                weights.begin() + static_cast<int64_t>(o + 1) * 144);
  const auto want = sparsegpt(w, fc1_inputs(graph, context), 0.625);
  const auto got = pruned->weight.values<float>();
  const auto keep = pruned->mask.values<uint8_t>();
  for (size_t o = 0; o < 32; ++o)
    for (size_t i = 0; i < 144; ++i) {
      EXPECT_EQ(keep[o * 144 + i] == 0, want[o][i] == 0) << o << " " << i;
      ASSERT_NEAR(got[o * 144 + i], want[o][i], 2e-3) << o << " " << i;
    }
}

// What second-order pruning is for: what the layer computes changes less.
TEST(Pruner, SparseGptLosesLeastWandaLess) {
  const Graph graph = toy::net();
  const CompressContext context = toy::context();
  const auto inputs = fc1_inputs(graph, context);
  const auto weights = graph.find_initializer("fc1.weight")->values<float>();
  const auto loss = [&](PruneScore score) {
    auto pruner = *Pruner::create(graph, layers_of(graph), score, {}, context);
    const PrunedWeight pruned = *pruner->prune("fc1.weight", 32 * 72);
    double sum = 0;
    for (const auto& x : inputs)
      for (size_t o = 0; o < 32; ++o) {
        double y = 0;
        for (size_t i = 0; i < 144; ++i)
          y += (static_cast<double>(weights[o * 144 + i]) -
                static_cast<double>(pruned.weight.values<float>()[o * 144 + i])) *
               x[i];
        sum += y * y;
      }
    return sum;
  };
  const double magnitude = loss(PruneScore::kMagnitude);
  const double wanda = loss(PruneScore::kWanda);
  EXPECT_LT(wanda, magnitude);
  EXPECT_LT(loss(PruneScore::kSparseGpt), 0.3 * wanda);
}

TEST(PruneScores, CountsAreExactAndThreadsChangeNothing) {
  const Graph graph = toy::net();
  for (const char* score : {"magnitude", "wanda", "sparsegpt"}) {
    for (const char* share : {"uniform", "sensitivity"}) {
      const std::string recipe = std::string("prune:0.7,score=") + score + ",share=" + share;
      CompressContext context = toy::context();
      const Compressed pruned = compressed(graph, recipe, context);
      EXPECT_EQ(all_of(pruned.graph, count_zeros),
                std::llround(0.7 * static_cast<double>(all_of(graph, size_of))))
          << recipe;
      EXPECT_THAT(pruned.steps[0].warnings, IsEmpty());
      context.threads = 3;
      const Compressed again = compressed(graph, recipe, context);
      for (const std::string& name : toy::weight_names())
        EXPECT_EQ(to_float_vector(*again.graph.find_initializer(name)),
                  to_float_vector(*pruned.graph.find_initializer(name)))
            << recipe << " " << name;
    }
  }
}

// fc1 [32, 144]: kept in each four inputs; conv2 [16, 8, 3, 3]: in each four channels at one place.
void expect_two_of_four(const std::vector<float>& fc1, const std::vector<float>& conv2) {
  for (size_t at = 0; at < fc1.size(); at += 4)
    EXPECT_LE(std::count_if(&fc1[at], &fc1[at] + 4, [](float w) { return w != 0; }), 2) << at;
  for (size_t o = 0; o < 16; ++o)
    for (size_t first : {0U, 4U})
      for (size_t tap = 0; tap < 9; ++tap) {
        int kept = 0;
        for (size_t c = first; c < first + 4; ++c)
          kept += conv2[(o * 8 + c) * 9 + tap] != 0 ? 1 : 0;
        EXPECT_LE(kept, 2) << o << " " << first << " " << tap;
      }
}

TEST(PrunePatterns, TwoOfFourWithEveryScoreAndThroughInt8) {
  const Graph graph = toy::net();
  for (const char* score : {"magnitude", "wanda", "sparsegpt"}) {
    const std::string recipe = std::string("prune:0.5,pattern=2:4,score=") + score;
    const Compressed pruned = compressed(graph, recipe);
    for (const char* weight : {"conv2.weight", "fc1.weight", "fc2.weight"})
      EXPECT_EQ(count_zeros(*pruned.graph.find_initializer(weight)),
                graph.find_initializer(weight)->size() / 2)
          << recipe << " " << weight;
    EXPECT_EQ(count_zeros(*pruned.graph.find_initializer("conv1.weight")), 0);
    ASSERT_THAT(pruned.steps[0].warnings, SizeIs(1));
    EXPECT_THAT(pruned.steps[0].warnings[0], HasSubstr("layer 'conv1' has 3 input channels"));
    expect_two_of_four(to_float_vector(*pruned.graph.find_initializer("fc1.weight")),
                       to_float_vector(*pruned.graph.find_initializer("conv2.weight")));
    const Compressed integers = compressed(graph, recipe + "+int8");
    const auto read = [&](const std::string& weight) {
      const Tensor& tensor = *integers.graph.find_initializer(weight + ".quantised");
      std::vector<float> values;
      for (const int8_t q : tensor.values<int8_t>()) values.push_back(static_cast<float>(q));
      return values;
    };
    expect_two_of_four(read("fc1.weight"), read("conv2.weight"));
  }
}

TEST(PrunePatterns, BlocksAndBalancedGroups) {
  const Graph graph = toy::net();
  for (const char* score : {"magnitude", "wanda", "sparsegpt"}) {
    for (const char* share : {"uniform", "sensitivity"}) {
      const std::string tail = std::string(",score=") + score + ",share=" + share;
      const Compressed blocks = compressed(graph, "prune:0.6,pattern=4x1" + tail);
      const auto fc1 = to_float_vector(*blocks.graph.find_initializer("fc1.weight"));
      for (size_t o = 0; o < 32; ++o)
        for (size_t i = 0; i < 144; ++i)
          EXPECT_EQ(fc1[o * 144 + i] == 0, fc1[o / 4 * 4 * 144 + i] == 0) << tail;
      EXPECT_NEAR(static_cast<double>(all_of(blocks.graph, count_zeros)),
                  0.6 * static_cast<double>(all_of(graph, size_of)), 8);
      const Compressed balanced = compressed(graph, "prune:0.6,pattern=k:64" + tail);
      const auto dense = to_float_vector(*balanced.graph.find_initializer("fc1.weight"));
      std::vector<int64_t> kept;
      for (size_t o = 0; o < 32; ++o)
        for (size_t first : {0U, 64U})
          kept.push_back(std::count_if(&dense[o * 144 + first], &dense[o * 144 + first] + 64,
                                       [](float w) { return w != 0; }));
      EXPECT_THAT(kept, Each(kept[0])) << tail;
      EXPECT_GT(kept[0], 0);
    }
  }
}

TEST(PrunePatterns, RefusedWithNames) {
  const auto refusal = [](const std::string& recipe) {
    const auto parsed = parse_recipe(recipe);
    if (!parsed.ok()) return std::string(parsed.status().message());
    const auto result = compress(toy::net(), *parsed, toy::context());
    EXPECT_FALSE(result.ok()) << recipe;
    return result.ok() ? std::string() : std::string(result.status().message());
  };
  EXPECT_THAT(refusal("prune:0.7,pattern=2:4"), HasSubstr("write prune:0.5,pattern=2:4"));
  EXPECT_THAT(refusal("prune:0.5,pattern=2:4,only=conv1"),
              HasSubstr("pattern=2:4 fits no layer: layer 'conv1' has 3 input channels"));
  EXPECT_THAT(refusal("prune:0.5,share=global,score=wanda"), HasSubstr("share=global"));
  EXPECT_THAT(refusal("prune:0.5,only=conv9"), HasSubstr("no weight layer 'conv9'"));
  EXPECT_THAT(refusal("prune:0.5,scope=encoder"), HasSubstr("no layer is left of the model's 4"));
}

// inputs=pruned is what pruning layer after layer in steps of their own does.
TEST(PruneScores, InputsBehindWhatWasPrunedBefore) {
  const Graph graph = toy::net();
  for (const std::string score : {"wanda", "sparsegpt"}) {
    const std::string head = "prune:0.6,share=uniform,score=" + score;
    std::string steps;
    for (const char* layer : {"conv1", "conv2", "fc1", "fc2"})
      steps += (steps.empty() ? "" : "+") + head + ",inputs=whole,only=" + layer;
    const Graph want = compressed(graph, steps).graph;
    const Graph got = compressed(graph, head).graph;
    const Graph whole = compressed(graph, head + ",inputs=whole").graph;
    for (const std::string& name : toy::weight_names()) {
      const auto values = to_float_vector(*got.find_initializer(name));
      EXPECT_EQ(values, to_float_vector(*want.find_initializer(name))) << score << " " << name;
      const bool first = name == "conv1.weight";
      EXPECT_EQ(values == to_float_vector(*whole.find_initializer(name)), first) << name;
    }
  }
}

TEST(PruneScores, OnlyTheNamedLayers) {
  const Compressed pruned =
      compressed(toy::net(), "prune:0.5,score=sparsegpt,share=uniform,only=fc1;fc2");
  EXPECT_EQ(count_zeros(*pruned.graph.find_initializer("conv2.weight")), 0);
  EXPECT_EQ(count_zeros(*pruned.graph.find_initializer("fc1.weight")), 32 * 144 / 2);
  EXPECT_EQ(count_zeros(*pruned.graph.find_initializer("fc2.weight")), 64);
}

// Each group of a convolution has its own inputs and loses its own share.
TEST(PruneScores, GroupedConvolution) {
  const Graph graph = toy::grouped_net();
  for (const char* score : {"wanda", "sparsegpt"}) {
    const std::string tail = std::string(",share=uniform,only=conv2,score=") + score;
    for (const char* recipe : {"prune:0.75", "prune:0.5,pattern=2:4", "prune:0.5,pattern=4x1"}) {
      const Compressed pruned = compressed(graph, recipe + tail);
      const auto w = to_float_vector(*pruned.graph.find_initializer("conv2.weight"));
      const auto zeros = [&](int64_t from) {
        return std::count(w.begin() + from, w.begin() + from + 8 * 36, 0.0F);
      };
      const int64_t want = std::string(recipe) == "prune:0.75" ? 8 * 27 : 8 * 18;
      EXPECT_EQ(zeros(0), want) << recipe << tail;
      EXPECT_EQ(zeros(8 * 36), want) << recipe << tail;
    }
  }
}

// One image; a layer that sees nothing but zeros; a dead input.
TEST(PruneScores, LittleToSee) {
  CompressContext context = toy::context();
  context.calibration_images = 1;
  Graph graph = toy::net();
  for (float& w : graph.initializers["fc1.weight"].mutable_values<float>()) w = 0;
  for (float& b : graph.initializers["fc1.bias"].mutable_values<float>()) b = -1;
  for (const char* score : {"wanda", "sparsegpt"}) {
    const Compressed pruned =
        compressed(graph, std::string("prune:0.5,share=uniform,score=") + score, context);
    ASSERT_THAT(pruned.steps[0].warnings, SizeIs(2)) << score;  // fc1 is zeros, fc2 reads zeros
    EXPECT_THAT(pruned.steps[0].warnings[0], HasSubstr("layer 'fc1' was pruned to nothing"));
    EXPECT_THAT(pruned.steps[0].warnings[1], HasSubstr("input of layer 'fc2' is zero"));
    const Tensor& fc2 = *pruned.graph.find_initializer("fc2.weight");
    EXPECT_EQ(count_zeros(fc2), 64) << score;
    const Tensor& whole = *graph.find_initializer("fc2.weight");
    if (std::string(score) == "sparsegpt") {
      EXPECT_EQ(to_float_vector(fc2),
                to_float_vector(apply_mask(whole, magnitude_mask(whole, 64))));
    }
  }
}

}  // namespace
}  // namespace pare
