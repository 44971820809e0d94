// A whole search on a small net: what is kept, what is held out, and going on after a stop.
#include "study/tune.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "compress/toy.h"
#include "graph/model_file.h"
#include "testing/files.h"

namespace pare {
namespace {

using ::testing::HasSubstr;

TuningOptions small_options(const std::string& folder) {
  TuningOptions options;
  options.goal.minimise = TuningGoal::Minimise::kSize;  // no times decide: the same every run
  options.goal.max_drop = 5;
  options.goal.budget_seconds = 0;
  options.folder = folder;
  options.held_out_images = 40;
  options.calibration_images = 16;
  options.sensitivity_images = 16;
  options.seconds = 0;
  options.threads = 1;
  options.program = "test";
  return options;
}

TEST(Tune, KeepsTheFrontAndTheBestAndTestsOnce) {
  const testing_files::TemporaryFolder folder;
  const TuningOptions options = small_options(folder.path() + "/tune");
  const auto result = tune_model(toy::net(), "hash", toy::images(200), toy::images(80, 8), options);
  ASSERT_TRUE(result.ok()) << result.status().message();
  ASSERT_TRUE(result->outcome.best.has_value());
  const TuningTry& best = result->outcome.tries[*result->outcome.best];
  EXPECT_LE(best.figures->drop, 5);
  EXPECT_LT(best.figures->pare_bytes, result->pare_bytes);
  for (const TuningTry& one : result->outcome.tries) {
    const bool good = one.figures && one.figures->drop <= 5;
    EXPECT_TRUE(!good || one.figures->pare_bytes >= best.figures->pare_bytes) << one.recipe;
  }
  EXPECT_EQ(file_size(result->best_path).value(), best.figures->pare_bytes);
  ASSERT_TRUE(result->test.has_value());
  EXPECT_EQ(result->test->comparison.images, 80);
  EXPECT_THAT(result->held_out, HasSubstr("40 of"));
  // Files: the tries, the best, and one model a member of the front.
  size_t models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(options.folder))
    models += entry.path().filename().string().starts_with("try-") ? 1 : 0;
  const auto front = tune_front(options.goal, result->outcome.tries);
  EXPECT_EQ(models, std::set<size_t>(front.begin(), front.end()).size() +
                        (std::ranges::count(front, *result->outcome.best) == 0 ? 1 : 0));
}

TEST(Tune, GoesOnWhereItWasStopped) {
  const testing_files::TemporaryFolder folder;
  TuningOptions options = small_options(folder.path() + "/tune");
  const auto run = [&] {
    return tune_model(toy::net(), "hash", toy::images(200), toy::images(80, 8), options);
  };
  std::atomic<bool> stop = false;
  int tries = 0;
  options.stop = &stop;
  options.events.tried = [&](const TuningTry&, const TuningOutcome&) { stop = ++tries == 3; };
  EXPECT_EQ(run().status().code(), StatusCode::kCancelled);
  stop = false;
  options.events.tried = {};
  const auto resumed = run();
  ASSERT_TRUE(resumed.ok());
  EXPECT_EQ(resumed->known, 3);
  EXPECT_GT(resumed->outcome.tries[0].seconds, 0.001);  // as long as it took when it was tried
  // The same answer as in one go.
  const testing_files::TemporaryFolder other;
  options.folder = other.path() + "/tune";
  const auto whole = run();
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(whole->known, 0);
  ASSERT_EQ(whole->outcome.tries.size(), resumed->outcome.tries.size());
  EXPECT_EQ(whole->outcome.best, resumed->outcome.best);
  for (size_t i = 0; i < whole->outcome.tries.size(); ++i) {
    EXPECT_EQ(whole->outcome.tries[i].recipe, resumed->outcome.tries[i].recipe);
    const auto& figures = whole->outcome.tries[i].figures;
    ASSERT_EQ(figures.has_value(), resumed->outcome.tries[i].figures.has_value());
    EXPECT_EQ(figures ? figures->drop : 0, figures ? resumed->outcome.tries[i].figures->drop : 0);
  }
  EXPECT_EQ(hash_file(whole->best_path).value(), hash_file(resumed->best_path).value());
}

TEST(Tune, ALineThatWasCutOffIsTriedAgain) {
  const testing_files::TemporaryFolder folder;
  TuningOptions options = small_options(folder.path() + "/tune");
  const auto run = [&] {
    return tune_model(toy::net(), "hash", toy::images(200), nullptr, options);
  };
  const auto first = run();
  ASSERT_TRUE(first.ok());
  EXPECT_FALSE(first->test.has_value());
  const std::string path = options.folder + "/tries.jsonl";
  const std::string text = read_text_file(path).value();
  ASSERT_TRUE(write_file(path, text.substr(0, text.size() - 20)).ok());
  const auto second = run();
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->known, static_cast<int64_t>(first->outcome.tries.size()) - 1);
  // Another model's tries are not taken over.
  const auto other = tune_model(toy::net(2), "other", toy::images(200), nullptr, options);
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(other->known, 0);
}

TEST(Tune, WhatCannotBeTuned) {
  const testing_files::TemporaryFolder folder;
  const TuningOptions options = small_options(folder.path() + "/tune");
  const Graph small = toy::compressed(toy::net(), "int8").graph;
  EXPECT_THAT(tune_model(small, "hash", toy::images(200), nullptr, options).status().message(),
              HasSubstr("quantised already"));
  EXPECT_THAT(tune_model(toy::net(), "hash", toy::images(3), nullptr, options).status().message(),
              HasSubstr("3 training images"));
}

}  // namespace
}  // namespace pare
