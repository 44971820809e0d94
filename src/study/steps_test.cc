#include "study/steps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "testing/files.h"

namespace pare {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A chain a -> b -> c of steps that write down that they ran.
class Steps : public testing::Test {
 protected:
  StudyStep step(const std::string& name, std::vector<StudyNeed> needs = {}) {
    StudyStep s;
    s.name = name;
    s.needs = std::move(needs);
    s.inputs = {{"the settings", settings_[name]}, {"the program", "p"}};
    s.run = [this, name](const StudyStepContext& context) -> Result<StudyStepOutput> {
      ran_.push_back(name);
      if (broken_ == name) return numeric_error("a NaN");
      PARE_RETURN_IF_ERROR(write_file(context.folder + "/out.txt", content_[name]));
      StudyStepOutput output;
      output.files = {"out.txt"};
      PARE_ASSIGN_OR_RETURN(
          output.records.emplace_back(),
          to_record(
              StepRecord{.study = "s", .step = name, .status = "ran", .cause = "x", .seconds = 1},
              current_context()));
      return output;
    };
    return s;
  }
  std::vector<StudyStep> chain() {
    return {step("a"), step("b", {{"a", "the model"}}), step("c", {{"b", "the answers"}})};
  }
  StudyResult run(const std::vector<StudyStep>& steps) {
    ran_.clear();
    auto result = run_steps("s", steps, options());
    EXPECT_TRUE(result.ok()) << result.status().message();
    return result.ok() ? *std::move(result) : StudyResult{};
  }
  StudyOptions options() const {
    StudyOptions o;
    o.folder = folder_.path("out");
    return o;
  }
  std::vector<std::string> causes(const StudyResult& result) {
    std::vector<std::string> all;
    for (const StepRecord& s : result.steps) all.push_back(s.status + ": " + s.cause);
    return all;
  }
  // The folder of the one step whose name begins so.
  std::filesystem::path step_folder(const std::string& name, const char* kind = "steps") {
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path("out/") + kind)) {
      if (entry.path().filename().string().starts_with(name + "-")) return entry.path();
    }
    return {};
  }

  testing_files::TemporaryFolder folder_;
  std::map<std::string, std::string> settings_;
  std::map<std::string, std::string> content_ = {{"a", "A"}, {"b", "B"}, {"c", "C"}};
  std::string broken_;
  std::vector<std::string> ran_;
};

TEST_F(Steps, RunOnceAndAreFoundAgain) {
  const StudyResult first = run(chain());
  EXPECT_THAT(ran_, ElementsAre("a", "b", "c"));
  EXPECT_THAT(causes(first),
              ElementsAre("ran: no result yet", "ran: no result yet", "ran: no result yet"));
  EXPECT_EQ(first.records.size(), 6U);  // each step's and the three outcomes
  const StudyResult second = run(chain());
  EXPECT_THAT(ran_, ElementsAre());
  EXPECT_EQ(second.steps[1].status, "cached");
  EXPECT_EQ(second.records.size(), 6U);
  const auto written = read_records(second.records_path);
  ASSERT_TRUE(written.ok());
  EXPECT_EQ(written->size(), 6U);
}

TEST_F(Steps, AChangedSettingRunsOnlyWhatDependsOnIt) {
  run(chain());
  settings_["b"] = "other";
  content_["b"] = "B2";
  const StudyResult result = run(chain());
  EXPECT_THAT(ran_, ElementsAre("b", "c"));
  EXPECT_THAT(causes(result), ElementsAre("cached: nothing it depends on changed",
                                          "ran: the settings changed", "ran: the answers changed"));
}

TEST_F(Steps, AResultThatStaysTheSameRunsNothingMore) {
  run(chain());
  settings_["b"] = "other";
  run(chain());
  EXPECT_THAT(ran_, ElementsAre("b"));
}

TEST_F(Steps, AStepThatFailsLosesNoOther) {
  broken_ = "b";
  std::vector<StudyStep> steps = chain();
  steps.push_back(step("d", {{"a", "the model"}}));
  steps.push_back(step("e", {{"b", "one", true}, {"d", "other", true}}));
  content_["d"] = "D";
  const StudyResult first = run(steps);
  EXPECT_EQ(first.failed, 1);
  EXPECT_THAT(causes(first), ElementsAre("ran: no result yet", "failed: a NaN",
                                         "left out: it needs 'b', which has no result",
                                         "ran: no result yet", "ran: no result yet"));
  broken_.clear();
  const StudyResult second = run(steps);
  EXPECT_EQ(second.failed, 0);
  EXPECT_THAT(ran_, ElementsAre("b", "c", "e"));  // e knew only d's answer before
}

TEST_F(Steps, OneWithOnlyOptionalNeedsIsLeftOutWhenNoneIsThere) {
  broken_ = "a";
  const StudyResult result = run({step("a"), step("b", {{"a", "the model", true}})});
  EXPECT_EQ(result.steps[1].status, "left out");
}

TEST_F(Steps, AnUnkeyedNeedIsWaitedForButItsContentDoesNotMatter) {
  const auto steps = [this] {
    return std::vector<StudyStep>{step("a"), step("b", {{"a", "the answers", true, false}})};
  };
  run(steps());
  settings_["a"] = "other";
  content_["a"] = "A2";
  run(steps());
  EXPECT_THAT(ran_, ElementsAre("a"));
}

TEST_F(Steps, AnInterruptedOneGoesOnInItsFolder) {
  std::vector<StudyStep> steps = {step("a")};
  const auto finish = steps[0].run;
  steps[0].run = [](const StudyStepContext& context) -> Result<StudyStepOutput> {
    PARE_RETURN_IF_ERROR(write_file(context.folder + "/checkpoint", "half"));
    return cancelled("Ctrl-C");
  };
  EXPECT_EQ(run_steps("s", steps, options()).status().code(), StatusCode::kCancelled);
  bool found = false;
  steps[0].run = [&](const StudyStepContext& context) -> Result<StudyStepOutput> {
    found = file_exists(context.folder + "/checkpoint");
    return finish(context);
  };
  const StudyResult result = run(steps);
  EXPECT_TRUE(found);
  EXPECT_THAT(causes(result), ElementsAre("ran: it was interrupted"));
}

TEST_F(Steps, WhatAnInterruptedOneLeftIsOfNoUseToOtherSettings) {
  std::vector<StudyStep> steps = {step("a")};
  const auto finish = steps[0].run;
  steps[0].run = [](const StudyStepContext& context) -> Result<StudyStepOutput> {
    PARE_RETURN_IF_ERROR(write_file(context.folder + "/checkpoint", "half"));
    return cancelled("Ctrl-C");
  };
  EXPECT_FALSE(run_steps("s", steps, options()).ok());
  bool found = true;
  steps[0].inputs["the settings"] = "other";
  steps[0].run = [&](const StudyStepContext& context) -> Result<StudyStepOutput> {
    found = file_exists(context.folder + "/checkpoint");
    return finish(context);
  };
  run(steps);
  EXPECT_FALSE(found);
}

// Killed between the last word of a step and its move to where finished steps stand.
TEST_F(Steps, OneThatWasFinishedButNotMovedIsTaken) {
  run(chain());
  std::filesystem::rename(step_folder("b"),
                          folder_.path("out/unfinished/") + step_folder("b").filename().string());
  const StudyResult result = run(chain());
  EXPECT_THAT(ran_, ElementsAre());
  EXPECT_EQ(result.steps[1].status, "cached");
  EXPECT_FALSE(step_folder("b").empty());
}

TEST_F(Steps, DamagedResultsAreMadeAnew) {
  run(chain());
  std::ofstream(step_folder("b") / "out.txt") << "tampered";
  StudyResult result = run(chain());
  EXPECT_THAT(ran_, ElementsAre("b"));
  EXPECT_EQ(result.steps[1].cause, "its files were changed or removed");
  std::ofstream(step_folder("c") / "step.json") << "{\"finished\": 3";
  result = run(chain());
  EXPECT_THAT(ran_, ElementsAre("c"));
  std::filesystem::remove(step_folder("a") / "records.jsonl");
  result = run(chain());
  EXPECT_THAT(ran_, ElementsAre("a"));
}

TEST_F(Steps, ADryRunSaysWhatWouldBeDoneAndDoesNothing) {
  run(chain());
  settings_["b"] = "other";
  StudyOptions dry = options();
  dry.dry_run = true;
  ran_.clear();
  const auto result = run_steps("s", chain(), dry);
  ASSERT_TRUE(result.ok());
  EXPECT_THAT(ran_, ElementsAre());
  EXPECT_THAT(causes(*result), ElementsAre("cached: nothing it depends on changed",
                                           "to run: the settings changed", "to run: after 'b'"));
}

TEST_F(Steps, AStepThatCannotBeHereSaysWhy) {
  std::vector<StudyStep> steps = chain();
  steps[0].left_out = "built without training";
  const StudyResult result = run(steps);
  EXPECT_THAT(causes(result), ElementsAre("left out: built without training",
                                          "left out: it needs 'a', which has no result",
                                          "left out: it needs 'b', which has no result"));
  EXPECT_EQ(result.failed, 0);
}

TEST_F(Steps, AStopIsObeyedBeforeTheNextStep) {
  std::atomic<bool> stop = false;
  std::vector<StudyStep> steps = chain();
  const auto first = steps[0].run;
  steps[0].run = [&](const StudyStepContext& context) {
    stop = true;
    return first(context);
  };
  StudyOptions o = options();
  o.stop = &stop;
  EXPECT_EQ(run_steps("s", steps, o).status().code(), StatusCode::kCancelled);
  run(chain());
  EXPECT_THAT(ran_, ElementsAre("b", "c"));
}

TEST_F(Steps, ASecondProgramInTheFolderDoesSharedStepsAndLeavesTheRest) {
  std::vector<StudyStep> steps = {step("a"), step("s1"), step("s2")};
  steps[1].shared = steps[2].shared = true;
  const auto first = steps[1].run;
  steps[1].run = [&](const StudyStepContext& context) -> Result<StudyStepOutput> {
    // While the first is at s1.
    const auto second = run_steps("s", {step("a"), steps[1], steps[2]}, options());
    EXPECT_TRUE(second.ok()) << second.status().message();
    EXPECT_FALSE(second->finished);
    EXPECT_TRUE(second->records.empty());
    EXPECT_THAT(causes(*second),
                ElementsAre("left out: another job of this study does it",
                            "left out: another job of this study does it", "ran: no result yet"));
    return first(context);
  };
  const StudyResult result = run(steps);
  EXPECT_TRUE(result.finished);
  EXPECT_THAT(ran_, ElementsAre("s2", "s1", "a"));
  EXPECT_THAT(causes(result), ElementsAre("ran: no result yet", "ran: no result yet",
                                          "cached: nothing it depends on changed"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path("out/claims")));
}

TEST_F(Steps, OneThatOnlyHelpsRunsSharedStepsAlone) {
  std::vector<StudyStep> steps = {step("a"), step("s1")};
  steps[1].shared = true;
  StudyOptions o = options();
  o.only_shared = true;
  const auto result = run_steps("s", steps, o);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_FALSE(result->finished);
  EXPECT_THAT(ran_, ElementsAre("s1"));
  EXPECT_FALSE(file_exists(folder_.path("out/records.jsonl")));
}

TEST_F(Steps, SharedStepsAreEachRunOnceByManyPrograms) {
  constexpr int kSteps = 12;
  std::atomic<int> runs = 0;
  const auto make_steps = [&] {
    std::vector<StudyStep> steps;
    for (int i = 0; i < kSteps; ++i) {
      steps.push_back({.name = "s" + std::to_string(i), .needs = {}, .inputs = {{"x", "1"}}});
      steps.back().shared = true;
      steps.back().run = [&](const StudyStepContext& context) -> Result<StudyStepOutput> {
        ++runs;
        PARE_RETURN_IF_ERROR(write_file(context.folder + "/out.txt", "x"));
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        StudyStepOutput output;
        output.files = {"out.txt"};
        return output;
      };
    }
    return steps;
  };
  std::atomic<int> finished = 0;
  std::vector<std::thread> programs;
  for (int p = 0; p < 4; ++p) {
    programs.emplace_back([&] {
      const auto result = run_steps("s", make_steps(), options());
      ASSERT_TRUE(result.ok()) << result.status().message();
      finished += result->finished ? 1 : 0;
    });
  }
  for (std::thread& program : programs) program.join();
  EXPECT_EQ(runs, kSteps);
  EXPECT_GE(finished, 1);
}

TEST_F(Steps, AFolderThatCannotBeWrittenIsNamed) {
  ASSERT_TRUE(write_file(folder_.path("file"), "x").ok());
  StudyOptions o;
  o.folder = folder_.path("file/out");
  EXPECT_THAT(run_steps("s", chain(), o).status().message(), HasSubstr(o.folder));
}

TEST_F(Steps, NamesThatLookAlikeHaveFoldersOfTheirOwn) {
  content_["x y"] = "1";
  content_["x:y"] = "2";
  run({step("x y"), step("x:y")});
  run({step("x y"), step("x:y")});
  EXPECT_THAT(ran_, ElementsAre());
}

}  // namespace
}  // namespace pare
