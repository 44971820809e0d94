// A whole training run: epochs of steps, validation, checkpoints, logs, and the exported model.
// Nothing here needs Torch's headers.
//
// Several programs can train together (ranks.h): each calls train() with the same run and a share
// of every batch is its. The result is the one program's to rounding, for any number of them; rank
// 0 keeps the folder, and the others get none of the events.
//
// A run with a folder keeps in it
//   checkpoint.pare-train   the state after an epoch, as the recipe says (checkpoint.h)
//   recipe.toml             every field of the recipe, as it was resolved
//   log.jsonl               one event a line: start, step, epoch, stop, end
//   records.jsonl           epoch records (records/schema.h)
//   events.out.tfevents.*   the same curves for TensorBoard
//   model.onnx              the result
// Killed at any moment and resumed, it ends with the same bits in its weights, on the same
// processor with the same number of threads: order, augmentation and dropout are keyed by seed and
// position (base/rng.h), and everything else is in the checkpoint.
#ifndef PARE_TRAIN_TRAIN_H_
#define PARE_TRAIN_TRAIN_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "pare/status.h"

#include "data/dataset.h"
#include "graph/graph.h"
#include "train/recipe.h"

namespace pare {

// After a step.
struct StepReport {
  int64_t epoch = 0;  // from 1
  int64_t epochs = 0;
  int64_t step = 0;  // steps done in the run
  int64_t total_steps = 0;
  double loss = 0;  // mean of the epoch so far
  double learning_rate = 0;
  double images_per_s = 0;
  double eta_s = 0;  // until the last step
};

// After an epoch and its validation.
struct EpochReport {
  int64_t epoch = 0;
  int64_t epochs = 0;
  int64_t step = 0;
  double train_loss = 0;
  double learning_rate = 0;
  int64_t images = 0;
  double seconds = 0;  // of training, without validation
  std::optional<double> validation_loss;
  std::optional<double> validation_top1;  // percent
  std::optional<double> validation_top5;
};

struct TrainEvents {
  std::function<void()> begins;  // all that can be refused was checked; steps follow
  std::function<void(const StepReport&)> step;
  std::function<void(const EpochReport&)> epoch;
  std::function<void(const std::string&)> note;  // one line: the device, where a run goes on
};

class Ranks;

// What summing gradients over ranks took.
struct GradientTraffic {
  int64_t steps = 0;
  int64_t bytes = 0;  // of gradients, of this rank
  // On CPUs: time in which sums were on their way, and the part of it after the backward pass.
  double busy_s = 0;
  double exposed_s = 0;
};

struct TrainRun {
  TrainRecipe recipe;
  Graph graph;  // with its initial weights
  DatasetPair data;
  const Graph* teacher = nullptr;
  std::string folder;                       // empty: nothing is kept
  bool resume = false;                      // go on from the folder's checkpoint
  int threads = 0;                          // 0: all cores
  std::string device = "auto";              // a GPU where there is one; "cpu", "cuda"
  const std::atomic<bool>* stop = nullptr;  // set from a signal handler: save and leave
  Ranks* ranks = nullptr;                   // those it is trained with; null: alone
  TrainEvents events;
  // As FinetuneOptions::masks.
  std::function<Result<std::map<std::string, Tensor>>(double progress, const Graph& current)> masks;
  int mask_every_steps = 16;
  // As FinetuneOptions::shared. On a GPU LibTorch's operators then make the steps.
  std::map<std::string, Tensor> shared;
  // The result keeps the graph's nodes and names: nothing is folded or left out.
  bool keep_form = false;
};

struct TrainResult {
  Graph graph;  // exported: batch norm folded, no dropout
  std::string weights_hash;
  int64_t steps = 0;
  double seconds = 0;  // of training, over all parts of a resumed run
  // On a GPU: the share of the steps' time, in this process, in which the GPU worked on them.
  std::optional<double> gpu_share;
  std::optional<GradientTraffic> traffic;  // with ranks: of this process and rank
  double test_loss = 0;
  double top1 = 0;  // percent, of the exported graph on the test images
  double top5 = 0;
  double views_top1 = 0;   // percent, with train.test_views above 1
  int64_t images = 0;      // tested
  std::string model_path;  // empty without a folder
};

// Errors: kNumeric when the loss is not finite, with step, batch and the last good checkpoint;
// kCancelled after a stop, with the words to go on; a folder that holds another run is refused.
Result<TrainResult> train(const TrainRun& run);

// XXH3-128 over the names, types, shapes and bytes of all initializers, in the order of their
// names.
std::string weights_hash(const Graph& graph);

}  // namespace pare

#endif  // PARE_TRAIN_TRAIN_H_
