#include "compress/trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace pare {
namespace {

// Enough for a range to have two ends.
constexpr int64_t kTrialImages = 8;

}  // namespace

std::optional<Trial> trial_of(const Recipe& recipe) {
  Trial trial;
  std::vector<std::string> otherwise;
  for (RecipeStep step : recipe.steps) {
    const Method& method = *find_method(step.method);
    if (!method.decides_speed) continue;
    step.shown = step_string(step);  // an error of the trial is one of the recipe
    const auto share = step.options.find("share");
    if (share != step.options.end() && step.word("share") == "sensitivity") {
      share->second = std::string("uniform");
      otherwise.push_back("every layer pruned alike");
    }
    // Where the zeros are decides no kernel, only how many there are.
    const auto score = step.options.find("score");
    if (score != step.options.end() && step.word("score") != "magnitude") {
      score->second = std::string("magnitude");
      otherwise.push_back("by magnitude");
    }
    // How many units of which group go is what a trial is about; this is near enough without a
    // trainer.
    const auto importance = step.options.find("importance");
    if (importance != step.options.end() && step.word("importance") == "taylor") {
      importance->second = std::string("variance");
      otherwise.push_back("by variance");
    }
    if (method.needs_trainer(step)) {
      otherwise.push_back("without " + step.method);
      continue;
    }
    const auto weights = step.options.find("weights");
    if (weights != step.options.end() && step.word("weights") == "auto") {
      weights->second = std::string("4");
      otherwise.push_back("4 bits in every layer");
    }
    const auto rounding = step.options.find("rounding");
    if (rounding != step.options.end()) rounding->second = std::string("nearest");  // as fast
    const auto bias = step.options.find("bias");
    if (bias != step.options.end()) bias->second = std::string("rounded");  // as fast
    if (method.needs_images(step)) {
      const std::string few = fmt::format("{} calibration images", kTrialImages);
      if (std::ranges::find(otherwise, few) == otherwise.end()) otherwise.push_back(few);
    }
    trial.recipe.steps.push_back(std::move(step));
  }
  if (trial.recipe.steps.empty()) return std::nullopt;
  trial.than = fmt::format("{}", fmt::join(otherwise, ", "));
  return trial;
}

Result<Graph> run_trial(const Graph& graph, const Trial& trial, CompressContext context) {
  context.calibration_images = std::min(context.calibration_images, kTrialImages);
  context.sensitivity_images = std::min(context.sensitivity_images, kTrialImages);
  context.progress = {};
  PARE_ASSIGN_OR_RETURN(Compressed result, compress(graph, trial.recipe, std::move(context)));
  return std::move(result.graph);
}

}  // namespace pare
