#include "train/finetune.h"

#include <fmt/format.h>

#include <algorithm>

#include "train/gradients.h"
#include "train/train.h"

namespace pare {
namespace {

// A finished network is only nudged: gentle augmentation, gradients held together (without batch
// norm, pruned networks diverge at rates that training bears: docs/training.md).
TrainRecipe finetune_recipe(const FinetuneOptions& options, const ImageShape& shape) {
  constexpr double kWeightDecay = 5e-4;
  TrainRecipe recipe;
  recipe.name = "finetune";
  recipe.train.epochs = options.epochs;
  recipe.train.batch_size = options.batch_size;
  recipe.train.seed = static_cast<int64_t>(options.seed);
  recipe.train.clip_norm = 1;
  recipe.optimiser.lr = options.learning_rate;
  recipe.optimiser.weight_decay = kWeightDecay;
  recipe.schedule.warmup_epochs = 0.05 * options.epochs;
  recipe.augment.flip = true;
  recipe.augment.crop_padding = std::min(shape.height, shape.width) / 8;
  recipe.distil.weight = options.distill_weight;
  recipe.distil.temperature = options.distill_temperature;
  return recipe;
}

class TorchTrainer : public Trainer {
 public:
  explicit TorchTrainer(TorchTrainerOptions options) : options_(std::move(options)) {}

  Result<Graph> finetune(const Graph& graph, const Dataset& train_images,
                         const FinetuneOptions& options) override {
    TrainRun run;
    run.recipe = finetune_recipe(options, train_images.image_shape());
    run.graph = graph;
    // The caller keeps the data alive; nobody deletes it here.
    run.data.train = std::shared_ptr<const Dataset>(&train_images, [](const Dataset*) {});
    run.teacher = options.teacher;
    run.threads = options.threads;
    run.device = options_.device;
    run.stop = options_.stop;
    run.masks = options.masks;
    run.mask_every_steps = options.mask_every_steps;
    run.shared = options.shared;
    run.keep_form = true;
    if (options.progress) {
      run.events.epoch = [&options](const EpochReport& e) {
        options.progress(fmt::format("fine-tuning: epoch {} of {}, loss {:.4f}, {:.0f} s", e.epoch,
                                     e.epochs, e.train_loss, e.seconds));
      };
    }
    PARE_ASSIGN_OR_RETURN(TrainResult result, train(run));
    return std::move(result.graph);
  }

  Status gradients(const Graph& graph, const Dataset& images, const GradientOptions& options,
                   const TakeGradients& take) override {
    return label_gradients(graph, images, options, options_, take);
  }

 private:
  TorchTrainerOptions options_;
};

}  // namespace

std::unique_ptr<Trainer> make_torch_trainer(const TorchTrainerOptions& options) {
  return std::make_unique<TorchTrainer>(options);
}

}  // namespace pare
