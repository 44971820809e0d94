#include "cli/train_teacher.h"

#include <fmt/format.h>

#include <string_view>

#include "base/file.h"
#include "cli/train_material.h"
#include "graph/model_file.h"
#include "train/ranks.h"
#include "train/run_folder.h"

namespace pare {
namespace {

constexpr std::string_view kPrefix = "recipe:";

std::string teacher_folder(const std::string& folder) { return folder + "/teacher"; }

}  // namespace

bool has_trained_teacher(const TrainRecipe& student) {
  return student.distil.teacher.starts_with(kPrefix);
}

bool stopped_at_teacher(const std::string& folder) {
  return file_exists(folder + "/recipe.toml") && is_directory(teacher_folder(folder)) &&
         !RunFolder::check(folder, /*resume=*/true).ok();
}

Result<TrainRecipe> teacher_recipe(const TrainRecipe& student) {
  const std::string name = student.distil.teacher.substr(kPrefix.size());
  PARE_ASSIGN_OR_RETURN(TrainRecipe recipe, load_train_recipe(name));
  if (has_trained_teacher(recipe)) {
    return invalid_argument(
        fmt::format("distil.teacher: recipe '{}' has a teacher that is trained first itself: one "
                    "such is all that a run takes",
                    name));
  }
  recipe.data = student.data;
  recipe.train.seed = student.train.seed;
  return recipe;
}

namespace {

Result<Graph> train_teacher(const TrainRun& student) {
  TrainRun run = student;
  PARE_ASSIGN_OR_RETURN(run.recipe, teacher_recipe(student.recipe));
  run.folder = teacher_folder(student.folder);
  const std::string model = run.folder + "/model.onnx";
  // Rank 0 sees the folder, others perhaps not.
  const bool leads = student.ranks == nullptr || student.ranks->leads();
  PARE_ASSIGN_OR_RETURN(const bool trained_before,
                        wish_of_any(student.ranks, leads && file_exists(model)));
  if (trained_before) return load_model(model);
  if (leads && !file_exists(student.folder + "/recipe.toml")) {
    PARE_RETURN_IF_ERROR(make_directories(student.folder));
    PARE_RETURN_IF_ERROR(write_file(student.folder + "/recipe.toml", recipe_toml(student.recipe)));
  }
  PARE_ASSIGN_OR_RETURN(
      run.resume,
      wish_of_any(student.ranks, leads && RunFolder::check(run.folder, /*resume=*/true).ok()));
  std::optional<Graph> own;
  if (!run.recipe.distil.teacher.empty()) {
    PARE_ASSIGN_OR_RETURN(own, load_train_teacher(run.recipe.distil.teacher));
  }
  run.teacher = own ? &*own : nullptr;
  PARE_ASSIGN_OR_RETURN(run.graph, initial_graph(run.recipe, run.data));
  run.events.begins = [&run] {
    if (!run.events.note) return;
    run.events.note(fmt::format("first its teacher: {} by recipe {}, into {}",
                                run.recipe.model.name, run.recipe.name, run.folder));
  };
  auto trained = train(run);
  if (!trained.ok()) {
    // The words to go on name the teacher's folder; the way is by the student's.
    if (trained.status().code() != StatusCode::kCancelled) {
      return trained.status().with_context("teacher");
    }
    return cancelled(
        fmt::format("stopped while the teacher was trained, all saved; go on with: pare train "
                    "--resume --out {}",
                    student.folder));
  }
  if (run.events.note && trained->images > 0) {
    run.events.note(fmt::format("teacher: top-1 {:.2f} % on {} test images, in {:.1f} s",
                                trained->top1, trained->images, trained->seconds));
  }
  return std::move(trained->graph);
}

}  // namespace

Result<std::optional<Graph>> find_teacher(const TrainRun& student) {
  const std::string& name = student.recipe.distil.teacher;
  if (name.empty()) return std::optional<Graph>();
  auto teacher =
      has_trained_teacher(student.recipe) ? train_teacher(student) : load_train_teacher(name);
  if (!teacher.ok()) return teacher.status();
  return std::optional<Graph>(std::move(teacher).value());
}

}  // namespace pare
