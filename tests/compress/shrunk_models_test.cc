// The built-in models, shrunk: every layer's outputs that should be able to go can, and taking out
// units whose readers ignore them changes nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "compress/calibrate.h"
#include "compress/compress.h"
#include "compress/layers.h"
#include "graph/cost.h"
#include "graph/couplings.h"
#include "models/models.h"
#include "stripes.h"

namespace pare {
namespace {

struct Case {
  const char* model;
  int64_t size;
  size_t groups;  // whose units may go, no norm being taken over them
  // Layers whose outputs stay: the last one, and behind a class token whose shape is computed all
  // that make the embedding, two a block and the patches.
  size_t fixed;
};

class ShrunkModel : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    auto built = build_model(GetParam().model, {.image_size = GetParam().size});
    ASSERT_TRUE(built.ok()) << built.status().message();
    auto prepared = prepare_for_compression(*built);
    ASSERT_TRUE(prepared.ok()) << prepared.status().message();
    graph_ = *std::move(prepared);
    auto found = find_couplings(graph_);
    ASSERT_TRUE(found.ok()) << found.status().message();
    couplings_ = *std::move(found);
  }

  Graph graph_;
  Couplings couplings_;
};

TEST_P(ShrunkModel, WhatMayGo) {
  const auto free = std::count_if(couplings_.groups.begin(), couplings_.groups.end(),
                                  [](const UnitGroup& g) { return g.normalised_by.empty(); });
  EXPECT_EQ(static_cast<size_t>(free), GetParam().groups);
  EXPECT_EQ(couplings_.fixed.size(), GetParam().fixed);
}

TEST_P(ShrunkModel, UnreadUnitsGoUnnoticed) {
  std::vector<bool> removed(static_cast<size_t>(couplings_.unit_count()), false);
  Graph ignoring = graph_;
  for (const UnitGroup& group : couplings_.groups) {
    if (!group.normalised_by.empty()) continue;
    for (size_t u = 0; u + 1 < group.units.size(); u += 3) {
      removed[static_cast<size_t>(group.first_unit) + u] = true;
      for (size_t a = 0; a < group.axes.size(); ++a) {
        if (group.axes[a].role != WeightAxis::Role::kReads) continue;
        Tensor& weight = ignoring.initializers[group.axes[a].weight];
        auto values = weight.mutable_values<float>();
        const std::vector<int64_t>& gone = group.units[u].indices[a];
        int64_t row = 1;
        for (int i = group.axes[a].axis + 1; i < weight.rank(); ++i) row *= weight.dim(i);
        const int64_t places = weight.dim(group.axes[a].axis);
        for (int64_t o = 0; o < weight.size() / (row * places); ++o)
          for (const int64_t place : gone)
            std::fill_n(values.begin() + (o * places + place) * row, row, 0.0F);
      }
    }
  }
  const auto shrunk = remove_units(ignoring, couplings_, removed);
  ASSERT_TRUE(shrunk.ok()) << shrunk.status().message();
  EXPECT_LT(shrunk->parameter_count(), graph_.parameter_count());
  const auto images = stripes(4, graph_.contract.height, 3);
  const auto want = forward(ignoring, *images, {});
  const auto got = forward(*shrunk, *images, {});
  ASSERT_TRUE(want.ok() && got.ok()) << got.status().message();
  EXPECT_GT(snr_db(*want, *got), 90);
}

TEST_P(ShrunkModel, HalfOfTheMacs) {
  CompressContext context;
  context.train = stripes(16, graph_.contract.height, 1);
  context.batch_size = 8;
  const auto result = compress(graph_, *parse_recipe("shrink:0.5"), context);
  ASSERT_TRUE(result.ok()) << result.status().message();
  const auto macs = [](const Graph& graph) {
    const auto costs = node_costs(graph);
    int64_t sum = 0;
    for (const NodeCost& cost : *costs) sum += cost.macs;
    return sum;
  };
  EXPECT_LE(macs(result->graph), macs(graph_) / 2);
  EXPECT_GT(macs(result->graph), macs(graph_) * 4 / 10);
}

INSTANTIATE_TEST_SUITE_P(Models, ShrunkModel,
                         ::testing::Values(Case{"alexnet", 0, 7, 1}, Case{"resnet18", 32, 12, 1},
                                           Case{"wrn-16-8", 0, 10, 1}, Case{"vit-seed", 0, 18, 1},
                                           Case{"vit-ti/16", 0, 24, 26}),
                         [](const auto& test) {
                           std::string name = test.param.model;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return !std::isalnum(c); },
                               '_');
                           return name;
                         });

}  // namespace
}  // namespace pare
