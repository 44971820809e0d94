// Stepper: the network being trained and everything that changes with it — optimiser, running
// average, masks — one step at a time.
#ifndef PARE_TRAIN_STEPPER_H_
#define PARE_TRAIN_STEPPER_H_

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "pare/status.h"

#include "data/loader.h"
#include "graph/graph.h"
#include "train/executor.h"
#include "train/losses.h"
#include "train/optimiser.h"
#include "train/recipe.h"
#include "train/torch.h"

namespace pare {

struct Scores {
  double loss = 0;
  double top1 = 0;  // percent
  double top5 = 0;
  int64_t images = 0;
};

class Stepper {
 public:
  // `teacher` may be null; it is copied.
  static Result<std::unique_ptr<Stepper>> create(const Graph& graph, const Graph* teacher,
                                                 const TrainRecipe& recipe, at::Device device);

  // Forward and backward of one batch; `group` batches make one step. Returns the batch's loss. A
  // loss that is not finite is kNumeric.
  Result<double> accumulate(Batch& batch, const ImageShape& shape, int64_t group);
  // Uses up the gathered gradients. `step` counts from 0.
  void update(int64_t step, double lr);
  // Dropout's numbers depend on the step alone, so that a resumed run draws the same ones.
  void seed_step(int64_t step) const;

  // Initializer name -> uint8 tensor; where it is 0 the weight is 0 from now on.
  Status set_masks(const std::map<std::string, Tensor>& masks);

  // Accuracy of the network that the run would give now: the averaged one if there is an average.
  // kCancelled once `stop` is set; it may be null.
  Result<Scores> validate(const std::shared_ptr<const Dataset>& data, int64_t batch_size,
                          const std::atomic<bool>* stop);
  // Measures batch norm's statistics anew for the averaged weights, on plain training images, each
  // at most once. kCancelled once `stop` is set; it may be null.
  Status recalibrate(const std::shared_ptr<const Dataset>& data,
                     const std::atomic<bool>* stop = nullptr);

  const TorchExecutor& network() const { return *network_; }
  TorchExecutor& result() { return average_ ? *average_ : *network_; }
  bool autocast() const { return autocast_; }
  // Whether every weight is a finite number.
  bool finite() const;

  // Everything that later steps depend on, sharing memory with the live tensors where their layout
  // allows: to be written out before the next step.
  Result<std::map<std::string, Tensor>> state() const;
  Status load_state(const std::map<std::string, Tensor>& saved);

 private:
  Stepper(TrainRecipe recipe, at::Device device) : recipe_(std::move(recipe)), device_(device) {}
  std::map<std::string, at::Tensor> live_tensors() const;
  void apply_masks();

  TrainRecipe recipe_;
  at::Device device_;
  bool autocast_ = false;
  std::unique_ptr<TorchExecutor> network_;
  std::unique_ptr<TorchExecutor> average_;  // null without EMA
  std::unique_ptr<TorchExecutor> teacher_;
  std::unique_ptr<Optimiser> optimiser_;
  std::map<std::string, at::Tensor> masks_;
};

// Threads that prepare batches for a trainer on `device`. On the CPU they share the cores with it,
// and a batch takes a hundredth of a step; a GPU leaves the cores free and is quick to be done.
int loader_threads(at::Device device);

// Accuracy of any executor.
struct EvaluateOptions {
  int64_t batch_size = 256;
  bool autocast = false;
  at::Device device = at::kCPU;
  const std::atomic<bool>* stop = nullptr;  // once it is set: kCancelled
};
Result<Scores> evaluate(TorchExecutor& executor, const std::shared_ptr<const Dataset>& data,
                        const EvaluateOptions& options);

}  // namespace pare

#endif  // PARE_TRAIN_STEPPER_H_
