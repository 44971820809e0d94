// Muon against steps worked out in double precision (tests/fixtures/make_muon.py), and which
// weights it takes.

#include "train/muon.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "testing/files.h"
#include "train/optimiser.h"

namespace pare {
namespace {

using nlohmann::json;

TorchExecutor::Named parameter(const std::string& name, std::vector<int64_t> shape,
                               bool decay = true) {
  at::Tensor w = at::zeros(shape);
  if (w.dim() == 4) w = w.contiguous(at::MemoryFormat::ChannelsLast);
  w.requires_grad_(true);
  return {name, w, decay};
}

at::Tensor tensor_of(const json& rows, const std::vector<int64_t>& shape) {
  std::vector<float> values;
  for (const json& row : rows) {
    for (const json& value : row) values.push_back(value.get<float>());
  }
  return at::tensor(values).reshape(shape);
}

void set_value(const at::Tensor& target, const at::Tensor& value) {
  const at::NoGradGuard no_grad;
  target.copy_(value);
}

TEST(Muon, TakesTheStepsOfItsFormula) {
  const auto text = read_text_file(testing_files::fixture_path("train/muon.json"), 1 << 20);
  ASSERT_TRUE(text.ok()) << text.status().message();
  for (const json& c : json::parse(*text)) {
    const std::string name = c.at("name");
    const auto shape = c.at("shape").get<std::vector<int64_t>>();
    const json& s = c.at("settings");
    TrainRecipe::Optimiser settings = {.kind = "muon"};
    settings.weight_decay = s.at("decay");
    settings.nesterov = s.at("nesterov");
    settings.muon_momentum = s.at("momentum");
    settings.muon_steps = s.at("newton_schulz");
    settings.muon_normalise = s.at("normalise");
    // Two of a shape, so that they are computed together; the second is another weight.
    const std::vector<TorchExecutor::Named> parameters = {parameter("a", shape),
                                                          parameter("b", shape)};
    set_value(parameters[0].value, tensor_of(c.at("weight"), shape));
    set_value(parameters[1].value, at::full(shape, 0.1F));
    Muon muon(parameters, {0, 1}, settings);
    const at::Tensor rate = at::full({}, s.at("rate").get<float>());
    for (const json& step : c.at("steps")) {
      const at::Tensor gradient = tensor_of(step.at("gradient"), shape);
      parameters[0].value.mutable_grad() = at::empty_like(parameters[0].value).copy_(gradient);
      parameters[1].value.mutable_grad() = at::empty_like(parameters[1].value).copy_(gradient * 3);
      muon.step(rate);
      const at::Tensor expected = tensor_of(step.at("weight"), shape);
      EXPECT_LT((parameters[0].value - expected).abs().max().item().toFloat(), 2e-5F) << name;
    }
  }
}

TEST(Muon, MakesMatricesAboutOrthogonal) {
  at::manual_seed(3);
  const at::Tensor singular =
      at::linalg_svdvals(orthogonalise(at::randn({4, 8, 40}), /*steps=*/5)).flatten();
  EXPECT_GT(singular.min().item().toFloat(), 0.6F);
  EXPECT_LT(singular.max().item().toFloat(), 1.25F);
}

TEST(Muon, TakesHiddenMatricesThatAreNotTooLarge) {
  const std::vector<TorchExecutor::Named> parameters = {parameter("conv", {8, 3, 3, 3}),
                                                        parameter("bias", {8}, false),
                                                        parameter("positions", {1, 5, 8}, false),
                                                        parameter("large", {64, 100}),
                                                        parameter("dense", {64, 8}),
                                                        parameter("scores", {10, 8})};
  TrainRecipe::Optimiser settings = {.kind = "muon"};
  settings.muon_largest_side = 32;
  EXPECT_THAT(muon_members(parameters, settings), testing::ElementsAre(0, 4));
  settings.muon_largest_side = 64;
  EXPECT_THAT(muon_members(parameters, settings), testing::ElementsAre(0, 3, 4));
}

// The rest goes by the other rule with rates of its own, and the state holds both.
TEST(Muon, SharesTheParametersWithTheOtherRule) {
  std::vector<TorchExecutor::Named> parameters = {
      parameter("hidden", {4, 6}), parameter("bias", {4}, false), parameter("scores", {2, 4})};
  TrainRecipe::Optimiser settings = {.kind = "muon", .lr = 0.5};
  settings.momentum = 0;
  settings.nesterov = false;
  settings.bias_lr = 2;
  settings.muon_lr = 0.25;
  settings.muon_normalise = true;
  set_value(parameters[0].value, at::ones({4, 6}));
  Optimiser optimiser(parameters, settings);
  for (const auto& p : parameters) p.value.mutable_grad() = at::ones_like(p.value);
  optimiser.step(0.05);  // a tenth of the top of the schedule
  EXPECT_NEAR(parameters[1].value[0].item().toFloat(), -0.2F, 1e-6F);
  EXPECT_NEAR(parameters[2].value[0][0].item().toFloat(), -0.05F, 1e-6F);
  // Brought to norm 2, then moved by 0.025 against the gradient's only direction, whose singular
  // value three to five steps of Newton-Schulz put between 0.6 and 1.3.
  const float moved = 2.0F - parameters[0].value.norm().item().toFloat();
  EXPECT_GT(moved, 0.025F * 0.6F);
  EXPECT_LT(moved, 0.025F * 1.3F);
  const auto state = optimiser.state();
  EXPECT_EQ(state.size(), 3U);
  EXPECT_EQ(state.at("first/hidden").sizes(), (std::vector<int64_t>{4, 6}));
  Optimiser other(parameters, settings);
  ASSERT_TRUE(other.load_state(state).ok());
  EXPECT_TRUE(other.state().at("first/hidden").equal(state.at("first/hidden")));
}

}  // namespace
}  // namespace pare
