// The trainer that a study is handed.

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "base/file.h"
#include "cli/train_material.h"
#include "cli/train_teacher.h"
#include "cli/trainer.h"
#include "train/finetune.h"
#include "train/recipe.h"
#include "train/train.h"

namespace pare {
namespace {

// A study's times and accuracies are the CPU's; so is its training, which the CPU repeats to the
// bit.
constexpr const char* kDevice = "cpu";

Result<TrainRecipe> resolve(const TrainingRequest& request) {
  PARE_ASSIGN_OR_RETURN(TrainRecipe recipe, load_train_recipe(request.recipe));
  if (!request.data.empty()) recipe.data.path = request.data;
  for (const std::string& setting : request.settings) {
    PARE_RETURN_IF_ERROR(set_recipe_field(recipe, setting, "set"));
  }
  PARE_RETURN_IF_ERROR(check_train_recipe(recipe));
  return recipe;
}

class TorchStudyTrainer : public StudyTrainer {
 public:
  explicit TorchStudyTrainer(const std::atomic<bool>* stop)
      : stop_(stop), finetuner_(make_torch_trainer({.device = kDevice, .stop = stop})) {}

  Result<TrainingOutline> outline(const TrainingRequest& request) override {
    PARE_ASSIGN_OR_RETURN(TrainRecipe recipe, resolve(request));
    PARE_ASSIGN_OR_RETURN(const TrainMaterial material, load_train_material(recipe, false));
    TrainingOutline outline;
    outline.net = is_model_file(recipe.model.name)
                      ? std::filesystem::path(recipe.model.name).stem().string()
                      : recipe.model.name;
    outline.data_hash = material.data.train->hash();
    outline.recipe = recipe_toml(recipe);
    // A model file and a teacher are named in the recipe; their content decides too.
    if (is_model_file(recipe.model.name)) outline.recipe += weights_hash(material.graph);
    if (has_trained_teacher(recipe)) {
      PARE_ASSIGN_OR_RETURN(const TrainRecipe teacher, teacher_recipe(recipe));
      outline.recipe += recipe_toml(teacher);
    } else if (!recipe.distil.teacher.empty()) {
      PARE_ASSIGN_OR_RETURN(const Graph teacher, load_train_teacher(recipe.distil.teacher));
      outline.recipe += weights_hash(teacher);
    }
    return outline;
  }

  Status train(const TrainingRequest& request, const std::string& folder,
               const std::function<void(const std::string&)>& progress) override {
    TrainRun run;
    PARE_ASSIGN_OR_RETURN(run.recipe, resolve(request));
    PARE_ASSIGN_OR_RETURN(TrainMaterial material, load_train_material(run.recipe, false));
    run.graph = std::move(material.graph);
    run.data = std::move(material.data);
    run.folder = folder;
    run.resume = file_exists(folder + "/checkpoint.pare-train");
    run.threads = request.threads;
    run.device = kDevice;
    run.stop = stop_;
    run.events.step = [&progress](const StepReport& r) {
      progress(
          fmt::format("epoch {} of {}, step {} of {}, loss {:.3f}, {:.0f} images/s, {:.0f} s left",
                      r.epoch, r.epochs, r.step, r.total_steps, r.loss, r.images_per_s, r.eta_s));
    };
    run.events.note = progress;
    PARE_ASSIGN_OR_RETURN(const std::optional<Graph> teacher, find_teacher(run));
    run.teacher = teacher ? &*teacher : nullptr;
    return pare::train(run).status();
  }

  Trainer* finetuner() override { return finetuner_.get(); }

 private:
  const std::atomic<bool>* stop_;
  std::unique_ptr<Trainer> finetuner_;
};

}  // namespace

std::unique_ptr<StudyTrainer> make_study_trainer(const std::atomic<bool>* stop) {
  return std::make_unique<TorchStudyTrainer>(stop);
}

}  // namespace pare
