#include "study/tune_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

namespace pare {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// A model whose losses and times are formulas of the recipe.
struct World {
  double prune_limit = 0.85;  // more than this loses a point
  double width_limit = 0.7;   // less than this does
  double finetune_gain = 0;   // sparsity that training gives back
  double int4_drop = 5;
  std::string fails;  // recipes with this in them cannot be made
  double seconds_each = 10;
  int64_t model_bytes = 1000;
  double now = 0;
  std::vector<std::string> asked;

  static double number_behind(const std::string& recipe, const std::string& word, double fallback) {
    const size_t at = recipe.find(word);
    return at == std::string::npos ? fallback : std::atof(recipe.c_str() + at + word.size());
  }

  Result<TuningFigures> measure(const std::string& recipe) {
    asked.push_back(recipe);
    now += seconds_each;
    if (!fails.empty() && recipe.find(fails) != std::string::npos)
      return unsupported("no such layer");
    TuningFigures f;
    const double gain = recipe.find("finetune") != std::string::npos ? finetune_gain : 0;
    const double gone = number_behind(recipe, "prune:", 0);
    const double left = number_behind(recipe, "shrink:", 1);
    if (gone > prune_limit + gain) f.drop = 1;
    if (left < width_limit - gain) f.drop = 1;
    f.latency = (1 - 0.5 * gone) * left;
    f.pare_bytes = static_cast<int64_t>(1000 * (1 - gone) * left);
    if (recipe.find("int8") != std::string::npos) {
      f.latency *= 0.5;
      f.pare_bytes /= 4;
    }
    if (recipe.find("int4") != std::string::npos) {
      f.drop += int4_drop;
      f.latency *= 0.6;
      f.pare_bytes /= 8;
    }
    return f;
  }
};

TuningOutcome run(const TuningGoal& goal, World& world) {
  TuningSearch search;
  search.measure = [&](const std::string& recipe) -> Result<TuningTry> {
    const double begun = world.now;
    const Result<TuningFigures> figures = world.measure(recipe);
    TuningTry one{.recipe = recipe, .seconds = world.now - begun};
    if (figures.ok()) one.figures = *figures;
    if (!figures.ok()) one.failure = figures.status().message();
    return one;
  };
  search.elapsed_seconds = [&] { return world.now; };
  search.model_bytes = world.model_bytes;
  return search_recipes(goal, search).value();
}

std::string best_of(const TuningOutcome& outcome) {
  return outcome.best ? outcome.tries[*outcome.best].recipe : "none";
}

TEST(TuningSearch, FindsTheSparsestThatLosesLittleWithTheBestPrecision) {
  World world;
  world.width_limit = 0.99;
  const TuningOutcome outcome = run({.max_drop = 0.3, .budget_seconds = 0}, world);
  EXPECT_EQ(best_of(outcome), "prune:0.85,score=sparsegpt+int8,rounding=gptq");
  EXPECT_FALSE(outcome.out_of_time);
  // int4 loses too much, so nothing is combined with it; halving leaves most levels untried.
  EXPECT_THAT(world.asked, Not(Contains(HasSubstr("+int4"))));
  EXPECT_LT(world.asked.size(), 36U);
}

TEST(TuningSearch, NarrowsWhereThatIsFaster) {
  World world;
  world.prune_limit = 0;
  const TuningOutcome outcome = run({.max_drop = 0.3, .budget_seconds = 0}, world);
  EXPECT_EQ(best_of(outcome), "shrink:0.7+int8,rounding=gptq");
}

TEST(TuningSearch, ForSizeInt4WinsWhereItLosesLittle) {
  World world;
  world.int4_drop = 0.1;
  TuningGoal goal;
  goal.minimise = TuningGoal::Minimise::kSize;
  goal.budget_seconds = 0;
  EXPECT_EQ(best_of(run(goal, world)), "prune:0.85,score=sparsegpt+int4");
  // Fewer channels are for speed; pruning makes files small sooner.
  EXPECT_THAT(world.asked, Not(Contains(HasSubstr("shrink"))));
}

TEST(TuningSearch, TrainsOnlyBeyondWhatGoesWithout) {
  World world;
  world.width_limit = 0.99;
  world.finetune_gain = 0.085;
  const TuningOutcome outcome =
      run({.max_drop = 0.3, .budget_seconds = 0, .finetune_epochs = 2}, world);
  EXPECT_EQ(best_of(outcome), "prune:0.93,score=sparsegpt+finetune:2+int8,rounding=gptq");
  for (const std::string& recipe : world.asked) {
    if (recipe.find("prune") == std::string::npos) continue;
    if (recipe.find("finetune") == std::string::npos) continue;
    EXPECT_GT(World::number_behind(recipe, "prune:", 0), 0.85) << recipe;
  }
}

TEST(TuningSearch, AMethodThatDoesNotFitIsATryWithItsReason) {
  World world;
  world.fails = "sparsegpt";
  const TuningOutcome outcome = run({.max_drop = 0.3, .budget_seconds = 0}, world);
  EXPECT_EQ(best_of(outcome), "shrink:0.7+int8,rounding=gptq");
  const auto failed =
      std::ranges::count_if(outcome.tries, [](const TuningTry& t) { return !t.figures; });
  EXPECT_GT(failed, 0);
  for (const TuningTry& one : outcome.tries) {
    EXPECT_EQ(one.failure, one.figures ? "" : "no such layer");
  }
}

TEST(TuningSearch, EndsWithinTheBudget) {
  World world;
  const TuningOutcome outcome = run({.max_drop = 0.3, .budget_seconds = 235}, world);
  EXPECT_TRUE(outcome.out_of_time);
  EXPECT_LE(world.now, 235);
  EXPECT_GT(world.now, 220);
  EXPECT_NE(best_of(outcome), "none");
  // Pruning is dearer than the precisions that were tried: none is begun that would not fit.
  World hasty;
  EXPECT_TRUE(run({.max_drop = 0.3, .budget_seconds = 100}, hasty).out_of_time);
  EXPECT_EQ(hasty.now, 30);
}

TEST(TuningSearch, AnAnswerIsBetterThanTheModel) {
  World world;
  world.model_bytes = 20;
  world.prune_limit = 0;
  TuningGoal goal;
  goal.minimise = TuningGoal::Minimise::kSize;
  goal.budget_seconds = 0;
  EXPECT_FALSE(run(goal, world).best.has_value());
}

TEST(TuningSearch, NothingThatLosesLittleEnough) {
  World world;
  const TuningOutcome outcome = run({.max_drop = -1, .budget_seconds = 0}, world);
  EXPECT_FALSE(outcome.best.has_value());
}

TEST(TuningSearch, AStopEndsIt) {
  TuningSearch search;
  search.measure = [](const std::string&) -> Result<TuningTry> { return cancelled("stopped"); };
  search.elapsed_seconds = [] { return 0.0; };
  EXPECT_EQ(search_recipes({}, search).status().code(), StatusCode::kCancelled);
}

TEST(TuningSearch, TheFrontGoesDownAsMoreIsLost) {
  const auto one = [](double drop, double latency) {
    TuningFigures figures;
    figures.drop = drop;
    figures.latency = latency;
    return TuningTry{.recipe = "", .figures = figures};
  };
  const std::vector<TuningTry> tries = {one(0.5, 0.4), one(0.1, 0.9), one(0.2, 0.95),
                                        one(0.5, 0.3), TuningTry{},   one(2, 0.35)};
  EXPECT_THAT(tune_front({}, tries), ElementsAre(1, 3));
}

}  // namespace
}  // namespace pare
