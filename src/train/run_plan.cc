#include "train/run_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "base/file.h"
#include "train/ranks.h"

namespace pare {

RunPlan plan_run(const TrainRun& run) {
  const TrainRecipe::Train& t = run.recipe.train;
  const int64_t images = run.data.train->size();
  RunPlan plan;
  plan.batches_per_epoch = std::max<int64_t>(1, images / std::min(images, t.batch_size));
  plan.accumulate = t.accumulate;
  plan.steps_per_epoch = (plan.batches_per_epoch + t.accumulate - 1) / t.accumulate;
  plan.total_steps =
      static_cast<int64_t>(std::ceil(t.epochs * static_cast<double>(plan.steps_per_epoch)));
  return plan;
}

std::string network_hash(const Graph& graph) {
  std::string text;
  for (const auto& [name, tensor] : graph.initializers) {
    text += name + " " + shape_string(tensor.shape()) + "\n";
  }
  for (const Node& node : graph.nodes) text += node.op + " " + node.name + "\n";
  return hash_bytes(std::as_bytes(std::span(text)));
}

Result<std::shared_ptr<const Dataset>> split_validation(TrainRun& run) {
  const TrainRecipe::Data& d = run.recipe.data;
  const auto seed = static_cast<uint64_t>(run.recipe.train.seed);
  std::shared_ptr<const Dataset> validation = run.data.test;
  if (d.holdout > 0) {
    const auto images = static_cast<double>(run.data.train->size());
    const auto count = std::max<int64_t>(1, std::llround(d.holdout * images));
    PARE_ASSIGN_OR_RETURN(HeldOut parts, hold_out(run.data.train, count, seed));
    run.data.train = std::move(parts.kept);
    validation = std::move(parts.held);
  }
  if (validation == nullptr || d.validation_images == 0 ||
      d.validation_images >= validation->size()) {
    return validation;
  }
  return balanced_subset(validation, d.validation_images, seed, "images");
}

Status check_teacher(const TrainRun& run) {
  if (run.teacher == nullptr || run.teacher->outputs.empty()) return ok_status();
  const Shape& scores = run.teacher->outputs[0].shape;
  const auto classes = static_cast<int64_t>(run.data.train->classes().size());
  if (scores.empty() || scores.back() == kDynamic || scores.back() == classes) return ok_status();
  return invalid_argument(
      fmt::format("the teacher has {} classes, the data {}", scores.back(), classes));
}

Status check_ranks(const TrainRun& run) {
  if (run.ranks == nullptr) return ok_status();
  const int64_t batch = std::min(run.recipe.train.batch_size, run.data.train->size());
  if (batch >= 2 * run.ranks->size()) return ok_status();
  return invalid_argument(
      fmt::format("batches of {} images cannot be shared out among {} ranks, "
                  "which need at least two each",
                  batch, run.ranks->size()));
}

}  // namespace pare
