// TrainRecipe: everything that decides a training run, as TOML.
//
// The fields are listed once, in recipe_fields(); reading a file, `--set optimiser.lr=0.1`, writing
// the resolved recipe and the documentation all follow that list. A recipe may name another as its
// `base`, a built-in one or a file beside it, and then says only what differs. Those in recipes/
// are built into the program.
#ifndef PARE_TRAIN_RECIPE_H_
#define PARE_TRAIN_RECIPE_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "pare/status.h"

#include "data/augment.h"

namespace pare {

struct TrainRecipe {
  std::string name;

  struct Model {
    std::string name = "alexnet";  // one of `pare models`, or a path to .onnx or .pare
    double dropout = -1;           // of every dropout layer; negative: as the model has it
    bool batch_norm = true;        // train the form with batch norm where the model has one
    // Images from whose patches the first convolution is made (models/whitening.h); 0: it is not.
    int64_t whiten_images = 0;
    // Weights that are not trained: names with * for any text, separated by semicolons.
    std::string freeze;
  } model;

  struct Data {
    std::string path;             // empty: the built-in images
    double train_fraction = 1.0;  // a seeded, class-balanced share
    // Share of the training images set aside: each epoch is validated on them instead of on the
    // test images, which then are looked at once, at the end.
    double holdout = 0;
    int64_t validation_images = 0;  // of them, looked at after each epoch; 0: all
    int64_t image_size = 0;         // 0: the model's
  } data;

  struct Train {
    double epochs = 1;
    int64_t batch_size = 256;
    int64_t accumulate = 1;  // batches whose gradients make one step
    int64_t seed = 0;
    double label_smoothing = 0;
    double clip_norm = 0;            // largest norm of all gradients together; 0: no limit
    std::string precision = "auto";  // "float32", "bfloat16"; auto: bfloat16 where it is fast
    bool sync_batch_norm = true;     // several ranks: statistics of the whole batch
    bool tune_kernels = true;        // GPU: cuDNN's kernels are chosen by timing them
    int64_t validate_every = 1;      // epochs; 0: only at the end
    int64_t test_views = 1;          // at the end also measured with so many (test_views.h)
  } train;

  struct Optimiser {
    std::string kind = "sgd";  // "adamw", "muon"
    double lr = 0.1;           // at the top of the schedule
    double weight_decay = 0;   // of multiplied weights
    double bias_lr = -1;       // of biases, scales and embeddings; negative: lr
    double bias_decay = 0;     // of the same
    double momentum = 0.9;     // sgd
    bool nesterov = true;      // sgd
    double beta1 = 0.9;        // adamw
    double beta2 = 0.999;
    double epsilon = 1e-8;
    // Muon (muon.h): hidden matrices by its own rate, the rest by `rest` with the fields above.
    std::string rest = "sgd";  // or "adamw"
    double muon_lr = 0.02;
    double muon_momentum = 0.95;
    int64_t muon_steps = 5;            // of Newton-Schulz
    bool muon_normalise = false;       // weights brought to a fixed norm before each step
    int64_t muon_largest_side = 2048;  // a matrix whose shorter side is longer is one of the rest
  } optimiser;

  struct Schedule {
    std::string kind = "cosine";  // "linear", "one-cycle", "step", "constant"
    double warmup_epochs = 0;     // linear from almost 0; at most half of the run
    double final_share = 0;       // of lr, at the end: cosine and one-cycle
    double peak = 0.3;            // one-cycle: where in the run the top is
    double start_share = 0.04;    // one-cycle: of lr, at the beginning
    std::vector<double> steps;    // step: epochs after which lr is multiplied
    double step_factor = 0.1;
  } schedule;

  AugmentOptions augment;

  struct Ema {
    double decay = 0;  // of the running average of weights, per step; 0: none
    // Batches by which batch norm's statistics are measured anew for the averaged weights.
    int64_t recalibration_batches = 32;
  } ema;

  struct Distil {
    std::string teacher;  // path or zoo name; empty: none
    double weight = 0.9;  // share of the loss that is the teacher's
    double temperature = 4;
  } distil;

  struct Checkpoint {
    int64_t epochs = 1;   // after every so many epochs; 0: by the minutes alone
    double minutes = 10;  // also every so many minutes; 0: by the epochs alone
  } checkpoint;
};

struct TrainRecipeField {
  std::string key;  // "optimiser.lr"
  std::variant<std::string*, bool*, int64_t*, float*, double*, std::vector<double>*> value;
  double low = 0;  // of numbers
  double high = 0;
  std::vector<std::string> choices;  // of strings; empty: anything
  std::string meaning;               // one line
};
// The fields of `recipe`, pointing into it.
std::vector<TrainRecipeField> recipe_fields(TrainRecipe& recipe);

// Names of the recipes that are built in ("alexnet", "alexnet-quick", ...).
std::vector<std::string> builtin_recipe_names();
// `source` is the file's name for messages: an unknown field, a wrong type or a number out of range
// is named with it and the line.
Result<TrainRecipe> parse_train_recipe(const std::string& toml, const std::string& source);
// A built-in recipe or a .toml file.
Result<TrainRecipe> load_train_recipe(const std::string& name_or_path);
// "optimiser.lr=0.1". `option`: what the user typed that means it, for messages.
Status set_recipe_field(TrainRecipe& recipe, const std::string& assignment,
                        const std::string& option = "--set");
// What depends on several fields, as steps that do not rise; and text that is not UTF-8.
Status check_train_recipe(const TrainRecipe& recipe);
// All fields with their meaning, to be read again by load_train_recipe.
std::string recipe_toml(const TrainRecipe& recipe);

}  // namespace pare

#endif  // PARE_TRAIN_RECIPE_H_
