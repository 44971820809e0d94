// Shrinking: what goes together, that taking out zeros changes nothing, importances and budgets by
// hand, and the method from recipe to result.
#include "compress/shrink.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "compress/compress.h"
#include "compress/layers.h"
#include "compress/residuals.h"
#include "compress/shrink_nets.h"
#include "compress/toy.h"
#include "compress/toy_builder.h"
#include "compress/unit_costs.h"
#include "graph/cost.h"
#include "graph/couplings.h"

namespace pare {
namespace {

using Role = WeightAxis::Role;

Couplings couplings_of(const Graph& graph) {
  auto couplings = find_couplings(graph);
  EXPECT_TRUE(couplings.ok()) << couplings.status().message();
  return couplings.ok() ? *std::move(couplings) : Couplings{};
}

std::map<std::string, size_t> sizes(const Couplings& couplings) {
  std::map<std::string, size_t> result;
  for (const UnitGroup& group : couplings.groups) result[group.name] = group.units.size();
  return result;
}

const UnitGroup& group_named(const Couplings& couplings, const std::string& name) {
  const auto it = std::find_if(couplings.groups.begin(), couplings.groups.end(),
                               [&](const UnitGroup& group) { return group.name == name; });
  static const UnitGroup kNone;
  EXPECT_NE(it, couplings.groups.end()) << name;
  return it == couplings.groups.end() ? kNone : *it;
}

std::vector<int64_t> indices(const UnitGroup& group, size_t unit, const std::string& weight) {
  for (size_t a = 0; a < group.axes.size(); ++a)
    if (group.axes[a].weight == weight) return group.units[unit].indices[a];
  return {};
}

double macs_of(const Graph& graph) {
  const auto costs = node_costs(graph);
  EXPECT_TRUE(costs.ok());
  double macs = 0;
  for (const NodeCost& cost : *costs) macs += static_cast<double>(cost.macs);
  return macs;
}

// --- What goes together --------------------------------------------------------------------------

using Sizes = std::map<std::string, size_t>;
using Indices = std::vector<int64_t>;

TEST(Couplings, AChannelIsNineInputsBehindFlatten) {
  const Couplings found = couplings_of(toy::net());
  EXPECT_EQ(sizes(found), (Sizes{{"conv1", 8}, {"conv2", 16}, {"fc1", 32}}));
  const UnitGroup& conv2 = group_named(found, "conv2");
  EXPECT_EQ(indices(conv2, 2, "conv2.weight"), Indices{2});
  EXPECT_EQ(indices(conv2, 2, "conv2.bias"), Indices{2});
  EXPECT_EQ(indices(conv2, 2, "fc1.weight"), (Indices{18, 19, 20, 21, 22, 23, 24, 25, 26}));
  ASSERT_EQ(found.fixed.size(), 1U);
  EXPECT_EQ(found.fixed[0].layer, "fc2");
  EXPECT_EQ(found.fixed[0].why, "the model's output 'logits'");
}

TEST(Couplings, ASumCouplesItsBranches) {
  const Couplings found = couplings_of(toy::residual_net());
  EXPECT_EQ(sizes(found),
            (Sizes{{"stem + conv2", 8}, {"conv1", 12}, {"conv3", 16}, {"conv4 + shortcut", 16}}));
  EXPECT_EQ(indices(group_named(found, "conv4 + shortcut"), 3, "norm.var"), Indices{3});
}

TEST(Couplings, JoinedChannelsLieOneBehindTheOther) {
  const Couplings found = couplings_of(toy::concat_net());
  EXPECT_EQ(sizes(found), (Sizes{{"a", 6}, {"b", 10}, {"c", 8}, {"d", 8}}));
  EXPECT_EQ(indices(group_named(found, "b"), 1, "c.weight"), Indices{7});
  EXPECT_EQ(indices(group_named(found, "a"), 1, "d.weight"), Indices{9});
}

TEST(Couplings, GroupsKeepOneSizeOrGoAsAWhole) {
  const Couplings found = couplings_of(toy::grouped_chain());
  // conv0: channels i and i + 8, one of each of the two groups. few: the same, and pairs of
  // neighbours, which are one of eight groups behind it; so `many` and `depthwise` lose three and
  // six channels with each pair.
  EXPECT_EQ(found.groups.size(), 3U);
  EXPECT_EQ(indices(group_named(found, "conv0"), 1, "conv0.weight"), (Indices{1, 9}));
  const UnitGroup& few = group_named(found, "few + many + depthwise");
  ASSERT_EQ(few.units.size(), 4U);
  EXPECT_EQ(indices(few, 1, "few.weight"), (Indices{2, 3, 10, 11}));
  EXPECT_EQ(indices(few, 1, "many.weight"), (Indices{3, 4, 5, 15, 16, 17}));
  EXPECT_EQ(indices(few, 1, "depthwise.weight"),
            (Indices{6, 7, 8, 9, 10, 11, 30, 31, 32, 33, 34, 35}));
}

TEST(Couplings, HeadsGoWithTheirRowsAndColumns) {
  const Couplings fused = couplings_of(toy::vit_net(true));
  EXPECT_EQ(sizes(fused), (Sizes{{"patches + proj + fc2", 16}, {"qkv", 4}, {"fc1", 32}}));
  EXPECT_EQ(group_named(fused, "patches + proj + fc2").normalised_by, "norm1");
  const UnitGroup& heads = group_named(fused, "qkv");
  EXPECT_EQ(heads.normalised_by, "");
  EXPECT_EQ(indices(heads, 1, "qkv.bias"),
            (Indices{5, 6, 7, 8, 9, 25, 26, 27, 28, 29, 45, 46, 47, 48, 49}));
  EXPECT_EQ(indices(heads, 1, "proj.weight"), (Indices{5, 6, 7, 8, 9}));
  const Couplings separate = couplings_of(toy::vit_net(false));
  EXPECT_EQ(sizes(separate),
            (Sizes{{"patches + proj + fc2", 16}, {"q.proj + k.proj + v.proj", 4}, {"fc1", 32}}));
}

// What a node does that no rule follows is said by its name.
TEST(Couplings, WhatIsNotFollowedStaysAndIsNamed) {
  Graph graph = toy::net();
  auto relu = std::find_if(graph.nodes.begin(), graph.nodes.end(),
                           [](const Node& node) { return node.name == "relu1"; });
  relu->op = "DepthToSpace";
  relu->attributes = {{"blocksize", int64_t{2}}};
  graph.initializers["conv2.weight"] = Tensor(DType::kFloat32, {16, 2, 3, 3});
  graph.initializers["fc1.weight"] = Tensor(DType::kFloat32, {32, 576});
  const Couplings found = couplings_of(graph);
  EXPECT_EQ(sizes(found), (Sizes{{"conv2", 16}, {"fc1", 32}}));
  ASSERT_FALSE(found.fixed.empty());
  EXPECT_EQ(found.fixed[0].layer, "conv1");
  EXPECT_EQ(found.fixed[0].why, "node 'relu1' (DepthToSpace)");
}

TEST(Couplings, AllUnitsOfAGroupCannotGo) {
  const Graph graph = toy::net();
  const Couplings found = couplings_of(graph);
  std::vector<bool> removed(static_cast<size_t>(found.unit_count()), false);
  std::fill(removed.begin(), removed.begin() + 8, true);
  const auto result = remove_units(graph, found, removed);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.status().message().find("'conv1'"), std::string::npos);
}

// --- Taking out zeros changes nothing
// --------------------------------------------------------------

// Every second unit of the groups over which nothing normalises.
std::vector<bool> every_second(const Couplings& couplings) {
  std::vector<bool> removed(static_cast<size_t>(couplings.unit_count()), false);
  for (const UnitGroup& group : couplings.groups)
    for (size_t u = 0; u + 1 < group.units.size() && group.normalised_by.empty(); u += 2)
      removed[static_cast<size_t>(group.first_unit) + u] = true;
  return removed;
}

// Either what makes the removed units (with their biases and norms) becomes zero, or what reads
// them.
Graph with_zeros(Graph graph, const Couplings& couplings, const std::vector<bool>& removed,
                 bool makers) {
  for (const UnitGroup& group : couplings.groups)
    for (size_t u = 0; u < group.units.size(); ++u) {
      if (!removed[static_cast<size_t>(group.first_unit) + u]) continue;
      for (size_t a = 0; a < group.axes.size(); ++a) {
        if ((group.axes[a].role == Role::kReads) == makers) continue;
        Tensor& weight = graph.initializers[group.axes[a].weight];
        auto values = weight.mutable_values<float>();
        const std::vector<int64_t>& gone = group.units[u].indices[a];
        for_each_weight(weight, group.axes[a].axis, [&](int64_t place, int64_t i) {
          if (std::binary_search(gone.begin(), gone.end(), place))
            values[static_cast<size_t>(i)] = 0;
        });
      }
    }
  return graph;
}

struct IdentityCase {
  const char* name;
  Graph (*net)();
};

class Identity : public ::testing::TestWithParam<IdentityCase> {};

TEST_P(Identity, WithoutZerosTheAnswersAreTheSame) {
  const Graph graph = GetParam().net();
  const Couplings couplings = couplings_of(graph);
  const std::vector<bool> removed = every_second(couplings);
  for (const bool makers : {true, false}) {
    const Graph zeroed = with_zeros(graph, couplings, removed, makers);
    const auto shrunk = remove_units(zeroed, couplings, removed);
    ASSERT_TRUE(shrunk.ok()) << shrunk.status().message();
    EXPECT_LT(shrunk->parameter_count(), graph.parameter_count());
    const std::vector<float> want = toy::logits(zeroed);
    const std::vector<float> got = toy::logits(*shrunk);
    ASSERT_EQ(want.size(), got.size());
    // The zeros matter, and the answers still depend on the image.
    EXPECT_LT(toy::snr_db(toy::logits(graph), want), 60);
    EXPECT_GT(std::fabs(want[0] - want[4]), 1e-3);
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 2e-5) << makers << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Nets, Identity,
    ::testing::Values(IdentityCase{"chain", [] { return toy::net(); }},
                      IdentityCase{"residual", toy::residual_net},
                      IdentityCase{"concat", toy::concat_net},
                      IdentityCase{"grouped", toy::grouped_chain},
                      IdentityCase{"vit_fused", [] { return toy::vit_net(true); }},
                      IdentityCase{"vit_separate", [] { return toy::vit_net(false); }}),
    [](const auto& test) { return std::string(test.param.name); });

// --- Importance and budgets by hand
// ----------------------------------------------------------------

// x [N, 2] is the mean of an image's channels 0 and 1; y = W2 relu(W1 x).
Graph small_net() {
  toy::Builder b(1);
  b.graph.name = "small";
  b.graph.inputs = {{"input", DType::kFloat32, {kDynamic, 2}}};
  b.graph.initializers["w1"] =
      Tensor::from_values<float>({3, 2}, std::vector<float>{1, -2, 3, 0, 1, 1});
  b.graph.initializers["w2"] =
      Tensor::from_values<float>({2, 3}, std::vector<float>{1, 2, 0, 1, 0, 3});
  b.add("Gemm", "one", {"input", "w1"}, {{"transB", int64_t{1}}});
  b.add("Relu", "relu", {"one"});
  b.add("Gemm", "two", {"relu", "w2"}, {{"transB", int64_t{1}}});
  b.graph.outputs = {{"two", DType::kFloat32, {kDynamic, 2}}};
  return std::move(b.graph);
}

// A bias that is no plain vector is not the layer's to change: the mean goes behind the layer.
// y = W2 relu(W1 x) + c without its second unit, whose mean is 2: y loses (2, 0) · 2 and gains it.
TEST(MovedMeans, GoBehindABiasOfAnotherShape) {
  Graph graph = small_net();
  graph.initializers["c"] = Tensor::from_values<float>({1, 2}, std::vector<float>{10, 20});
  for (Node& node : graph.nodes)
    if (node.outputs[0] == "two") node.inputs.push_back("c");
  const Couplings couplings = couplings_of(graph);
  std::vector<bool> removed(3, false);
  removed[static_cast<size_t>(couplings.units_along.at("relu").at(1)[1])] = true;
  auto shrunk = remove_units(graph, couplings, removed);
  ASSERT_TRUE(shrunk.ok()) << shrunk.status().message();
  const auto moved = move_means_into_biases(graph, *shrunk, couplings, removed,
                                            {{"relu", {{1, 2, 3}, {4, 0.5, 1}}}});
  ASSERT_TRUE(moved.ok()) << moved.status().message();
  EXPECT_EQ(to_float_vector(*moved->find_initializer("c")), (std::vector<float>{10, 20}));
  const Node& last = moved->nodes.back();
  ASSERT_EQ(last.op, "Add");
  EXPECT_EQ(last.outputs[0], "two");
  EXPECT_EQ(to_float_vector(*moved->find_initializer(last.inputs[1])), (std::vector<float>{4, 0}));
}

TEST(UnitDamage, ByHand) {
  const Graph graph = small_net();
  const Couplings couplings = couplings_of(graph);
  ASSERT_EQ(couplings.unit_count(), 3);
  const std::map<std::string, Moments> moments = {{"relu", {{1, 2, 3}, {4, 0.5, 1}}}};
  const struct {
    Importance importance;
    // Columns of w2: squares 1 + 1 = 2, 4, 9.
    std::vector<double> shares;
  } cases[] = {
      {Importance::kVariance, {4 * 2, 0.5 * 4, 1 * 9}},
      // Rows of w1: squares 5, 9, 2; magnitudes 3, 3, 2.
      {Importance::kL2, {5 * 2, 9 * 4, 2 * 9}},
      {Importance::kL1, {9 * 2, 9 * 4, 4 * 9}},
  };
  for (const auto& [importance, shares] : cases) {
    const auto damage = unit_damage(graph, couplings, importance, moments);
    ASSERT_TRUE(damage.ok());
    const double sum = shares[0] + shares[1] + shares[2];
    for (size_t u = 0; u < 3; ++u) EXPECT_DOUBLE_EQ((*damage)[u], shares[u] / sum);
  }
  const auto unknown = unit_damage(graph, couplings, Importance::kBatchNorm, moments);
  EXPECT_EQ((*unknown)[0], std::numeric_limits<double>::infinity());
}

TEST(UnitDamage, BatchNormScales) {
  const Graph graph = toy::residual_net();
  const Couplings couplings = couplings_of(graph);
  const auto damage = unit_damage(graph, couplings, Importance::kBatchNorm, {});
  ASSERT_TRUE(damage.ok());
  const UnitGroup& last = group_named(couplings, "conv4 + shortcut");
  const auto scale = graph.initializers.at("norm.scale").values<float>();
  const auto head = graph.initializers.at("head.weight").values<float>();
  std::vector<double> energy(16, 0);
  double sum = 0;
  for (size_t c = 0; c < 16; ++c) {
    for (size_t o = 0; o < 4; ++o) energy[c] += std::pow(scale[c] * head[o * 16 + c], 2);
    sum += energy[c];
  }
  for (size_t c = 0; c < 16; ++c)
    EXPECT_NEAR((*damage)[static_cast<size_t>(last.first_unit) + c], energy[c] / sum, 1e-6);
}

// One layer reads 2 inputs into 3 units, the next 3 units into 2: 6 + 6 weights and MACs, 4 a unit.
TEST(ChooseUnits, BudgetsByHand) {
  const Graph graph = small_net();
  const Couplings couplings = couplings_of(graph);
  const std::vector<double> damage = {0.5, 0.1, 0.2};
  auto choose = [&](const ShrinkBudget& budget) {
    return choose_units(graph, couplings, damage, {true}, budget);
  };
  EXPECT_EQ(*choose({.macs = 0.9}), (std::vector<bool>{false, true, false}));
  EXPECT_EQ(*choose({.macs = 8.0 / 12}), (std::vector<bool>{false, true, false}));
  EXPECT_EQ(*choose({.parameters = 0.6}), (std::vector<bool>{false, true, true}));
  EXPECT_EQ(*choose({.each = 0.4}), (std::vector<bool>{false, true, false}));
  EXPECT_EQ(*choose({.macs = 0.9, .multiple = 2}), (std::vector<bool>{false, true, false}));
  const auto too_little = choose({.macs = 0.1});
  ASSERT_FALSE(too_little.ok());
  EXPECT_NE(too_little.status().message().find("leaves 0.333 of the MACs"), std::string::npos)
      << too_little.status().message();
  EXPECT_FALSE(choose({.macs = 0.5, .most = 0.4}).ok());
}

// What the costs say of a removal is what the smaller graph has.
TEST(UnitCosts, AreThoseOfTheSmallerGraph) {
  for (const Graph& graph : {toy::net(), toy::residual_net(), toy::concat_net(),
                             toy::grouped_chain(), toy::vit_net(true), toy::vit_net(false)}) {
    const Couplings couplings = couplings_of(graph);
    auto costs = UnitCosts::create(graph, couplings);
    ASSERT_TRUE(costs.ok());
    const std::vector<bool> removed = every_second(couplings);
    std::vector<int32_t> units;
    for (size_t u = 0; u < removed.size(); ++u)
      if (removed[u]) units.push_back(static_cast<int32_t>(u));
    const UnitCost before = costs->total();
    const UnitCost saved = costs->saving(units);
    costs->remove(units);
    const auto shrunk = remove_units(graph, couplings, removed);
    ASSERT_TRUE(shrunk.ok());
    const double macs = macs_of(*shrunk);
    EXPECT_NEAR(costs->total().macs, macs, 1e-6 * macs) << graph.name;
    EXPECT_NEAR(before.macs - saved.macs, macs, 1e-6 * macs) << graph.name;
    EXPECT_NEAR(costs->total().parameters, static_cast<double>(shrunk->parameter_count()), 1e-3)
        << graph.name;
  }
}

// --- The method
// ------------------------------------------------------------------------------------

TEST(Shrink, MeetsItsBudget) {
  for (const Graph& graph : {toy::net(), toy::residual_net(), toy::concat_net(), toy::vit_net(true),
                             toy::vit_net(false)}) {
    const Compressed result = toy::compressed(graph, "shrink:0.7,multiple=1");
    EXPECT_LE(macs_of(result.graph), 0.7 * macs_of(graph)) << graph.name;
    EXPECT_GT(macs_of(result.graph), 0.5 * macs_of(graph)) << graph.name;
    EXPECT_GT(toy::snr_db(toy::logits(graph), toy::logits(result.graph)), 3) << graph.name;
  }
}

TEST(Shrink, WidthsAreMultiples) {
  const Compressed result = toy::compressed(toy::net(), "shrink:0.6,parameters=0.5");
  for (const auto& layer : result.steps[0].layers)
    EXPECT_TRUE(layer["outputs stay for"] != "" || layer["outputs left"].get<int>() % 8 == 0);
}

// A channel that is constant gives its reader's bias what it gave to its sums: nothing is lost, but
// for the border of what a convolution pads, and there is none here.
TEST(Shrink, ConstantsMoveIntoBiases) {
  Graph graph = toy::net();
  const auto make_constant = [&](const std::string& layer, size_t unit, float value) {
    Tensor& weight = graph.initializers[layer + ".weight"];
    const int64_t row = weight.size() / weight.dim(0);
    auto values = weight.mutable_values<float>();
    std::fill_n(values.begin() + static_cast<int64_t>(unit) * row, row, 0.0F);
    graph.initializers[layer + ".bias"].mutable_values<float>()[unit] = value;
  };
  make_constant("conv2", 3, 0.7F);
  make_constant("conv2", 9, 1.5F);
  // Nothing but constants goes: they do not vary.
  const std::string recipe = "shrink,each=0.125,multiple=1,skip=conv1;fc1";
  const Compressed moved = toy::compressed(graph, recipe);
  EXPECT_EQ(moved.graph.find_initializer("conv2.weight")->dim(0), 14);
  const std::vector<float> want = toy::logits(graph);
  EXPECT_GT(toy::snr_db(want, toy::logits(moved.graph)), 90);
  const Compressed dropped = toy::compressed(graph, recipe + ",means=drop");
  EXPECT_LT(toy::snr_db(want, toy::logits(dropped.graph)), 40);
}

TEST(Shrink, AMatMulWithoutABiasGetsOne) {
  Graph graph = toy::net();
  auto& fc2 = *std::find_if(graph.nodes.begin(), graph.nodes.end(),
                            [](const Node& node) { return node.name == "fc2"; });
  graph.nodes.pop_back();
  fc2.outputs[0] = "logits";
  const Compressed result = toy::compressed(graph, "shrink,each=0.5,skip=conv1;conv2");
  EXPECT_EQ(result.graph.nodes.back().op, "Add");
  EXPECT_EQ(result.graph.outputs[0].name, "logits");
}

class KeepingTrainer : public Trainer {
 public:
  Result<Graph> finetune(const Graph& graph, const Dataset&,
                         const FinetuneOptions& options) override {
    started_from = graph;
    teacher = *options.teacher;
    if (options.masks) {
      auto found = options.masks(1.0, graph);
      if (!found.ok()) return found.status();
      masks = *std::move(found);
    }
    return graph;
  }
  Status gradients(const Graph&, const Dataset&, const GradientOptions&,
                   const TakeGradients&) override {
    return internal_error("nobody asks for gradients here");
  }
  Graph started_from;
  Graph teacher;
  std::map<std::string, Tensor> masks;
};

TEST(Shrink, FinetuningTrainsTheSmallModelWithTheWholeOneAsTeacher) {
  KeepingTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  toy::compressed(toy::net(), "shrink:0.6+finetune:1", context);
  EXPECT_LT(trainer.started_from.parameter_count(), toy::net().parameter_count());
  EXPECT_EQ(trainer.teacher.parameter_count(), toy::net().parameter_count());
  EXPECT_TRUE(trainer.masks.empty());
}

TEST(Shrink, MasksAreCutWithTheirWeights) {
  KeepingTrainer trainer;
  CompressContext context = toy::context();
  context.trainer = &trainer;
  const Compressed result =
      toy::compressed(toy::net(), "prune:0.5,share=uniform+shrink:0.6+finetune:1", context);
  for (const std::string& name : toy::weight_names())
    EXPECT_EQ(trainer.masks.at(name).shape(), result.graph.find_initializer(name)->shape()) << name;
}

TEST(Shrink, OneImageAndDeadLayers) {
  CompressContext context = toy::context();
  context.calibration_images = 1;
  EXPECT_LE(macs_of(toy::compressed(toy::net(), "shrink:0.7", context).graph),
            0.7 * macs_of(toy::net()));
  Graph dead = toy::net();
  for (float& w : dead.initializers["conv2.weight"].mutable_values<float>()) w = 0;
  EXPECT_LE(macs_of(toy::compressed(dead, "shrink:0.7").graph), 0.7 * macs_of(dead));
}

// Two layers that read one weight lose the same of it.
TEST(Shrink, ASharedWeight) {
  toy::Builder b(6);
  b.graph = toy::residual_net();
  auto& conv2 = *std::find_if(b.graph.nodes.begin(), b.graph.nodes.end(),
                              [](const Node& node) { return node.name == "conv2"; });
  // stem (8) -> conv1 (8) -> conv2 (8), the last two with one weight.
  b.weights("conv1.weight", {8, 8, 3, 3}, 72);
  b.floats("conv1.bias", {8}, 0.1F);
  conv2.inputs[1] = "conv1.weight";
  b.graph.initializers.erase("conv2.weight");
  ASSERT_TRUE(check_graph(b.graph).ok());
  const Couplings found = couplings_of(b.graph);
  EXPECT_EQ(sizes(found).at("stem + conv1"), 8U);
  const Compressed result = toy::compressed(b.graph, "shrink:0.8,multiple=1");
  EXPECT_LE(macs_of(result.graph), 0.8 * macs_of(b.graph));
}

TEST(Shrink, Refusals) {
  const auto refused = [](const Graph& graph, const std::string& recipe) {
    const auto result = compress(graph, *parse_recipe(recipe), toy::context());
    return result.ok() ? std::string("nothing") : result.status().message();
  };
  EXPECT_NE(refused(toy::net(), "shrink").find("nothing to do"), std::string::npos);
  EXPECT_NE(refused(toy::net(), "shrink:0.01").find("at most 0.01"), std::string::npos);
  EXPECT_NE(refused(toy::net(), "shrink:0.5,skip=conv7").find("conv7"), std::string::npos);
  EXPECT_NE(refused(toy::net(), "shrink:0.5,importance=bn").find("batch norm"), std::string::npos);
  EXPECT_NE(refused(toy::net(), "shrink:0.5,skip=conv1;conv2;fc1").find("leaves 1 of the MACs"),
            std::string::npos);
}

// --- Whole branches
// --------------------------------------------------------------------------------

TEST(Residuals, AreBranchesBesideTheirOwnInput) {
  const auto names = [](const Graph& graph) {
    std::vector<std::string> adds;
    for (const Residual& residual : find_residuals(graph)) adds.push_back(residual.add);
    return adds;
  };
  // The second block's shortcut has a convolution of its own.
  EXPECT_EQ(names(toy::residual_net()), std::vector<std::string>{"add1"});
  EXPECT_EQ(names(toy::vit_net(true)), (std::vector<std::string>{"middle", "last"}));
  EXPECT_TRUE(names(toy::net()).empty());
}

// A branch that is the same for every image is the one that goes, and its mean makes up for it.
TEST(DropBlocks, TheBranchThatIsConstantGoesUnnoticed) {
  for (const auto& [graph, weight] :
       {std::pair{toy::vit_net(true), "fc2.weight"}, std::pair{toy::vit_net(false), "proj.weight"},
        std::pair{toy::residual_net(), "conv2.weight"}}) {
    Graph constant = graph;
    for (float& w : constant.initializers[weight].mutable_values<float>()) w = 0;
    const Compressed result = toy::compressed(constant, "drop-blocks:1");
    EXPECT_EQ(result.graph.find_initializer(weight), nullptr) << graph.name;
    EXPECT_GT(toy::snr_db(toy::logits(constant), toy::logits(result.graph)), 90) << graph.name;
    EXPECT_LT(macs_of(result.graph), macs_of(graph)) << graph.name;
  }
}

TEST(DropBlocks, MoreThanThereAre) {
  const auto result = compress(toy::vit_net(true), *parse_recipe("drop-blocks:3"), toy::context());
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.status().message().find("the model has 2"), std::string::npos);
}

}  // namespace
}  // namespace pare
