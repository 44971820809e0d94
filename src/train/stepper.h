// Stepper: the network being trained and everything that changes with it — optimiser, running
// average, masks — one step at a time. With several ranks (ranks.h) each has one, given its share
// of every batch; what is the same on all ranks stays the same to the bit.
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
#include "train/gpu_step.h"
#include "train/gradient_sum.h"
#include "train/losses.h"
#include "train/optimiser.h"
#include "train/ranks.h"
#include "train/recipe.h"
#include "train/resident_images.h"
#include "train/shared_weights.h"
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
  ~Stepper();
  Stepper(const Stepper&) = delete;
  Stepper& operator=(const Stepper&) = delete;

  // `teacher` may be null; it is copied. `own_part` false: on a GPU with LibTorch's operators
  // alone. `ranks` may be null and must outlive it.
  static Result<std::unique_ptr<Stepper>> create(const Graph& graph, const Graph* teacher,
                                                 const TrainRecipe& recipe, at::Device device,
                                                 bool own_part = true, Ranks* ranks = nullptr);

  // Keeps the training images where they are needed, if there is room: then the batches that come
  // need no pixels, only what is drawn for them (LoaderOptions::pixels), and true is returned.
  Result<bool> keep_images(const Dataset& data);

  // Forward and backward of one batch; `group` batches make one step. Its loss is added to
  // losses(). A loss that is not finite is kNumeric, on a GPU as soon as it is seen.
  Status accumulate(Batch& batch, const ImageShape& shape, int64_t group);
  // Uses up the gathered gradients. `step` counts from 0.
  Status update(int64_t step, double lr);

  // Begins a new sum of losses, that of a resumed epoch with what it was.
  void begin_losses(const LossSum& so_far);
  // The sum; on a GPU without `wait` as it was some batches ago. kNumeric if it is not finite. With
  // ranks it is without `wait` that of the own shares, and with it a collective call.
  Result<LossSum> losses(bool wait);
  // How the steps are taken, for the user: a line where there is something to say.
  std::string note() const;
  // On a GPU with our own part: the time that it worked on steps, by its own clock.
  std::optional<double> gpu_seconds();
  // Of the gradients between ranks; nothing without ranks.
  std::optional<GradientTraffic> traffic() const;
  // Dropout's numbers depend on the step and the rank alone, so that a resumed run draws the same
  // ones.
  void seed_step(int64_t step) const;

  // Initializer name -> uint8 tensor; where it is 0 the weight is 0 from now on.
  Status set_masks(const std::map<std::string, Tensor>& masks);
  // As FinetuneOptions::shared, from now on; not with our own part of a GPU.
  Status set_shared(const std::map<std::string, Tensor>& shared);

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

  // Collective; nothing without ranks. Rank 0's state becomes everybody's.
  Status take_leaders_state();
  // Running statistics become the mean of all ranks': before they are used or saved.
  Status align_statistics();

 private:
  Stepper(TrainRecipe recipe, at::Device device, bool own_part, Ranks* ranks);
  std::map<std::string, at::Tensor> live_tensors() const;
  void apply_masks();
  void set_up_gpu();
  Status accumulate_on_cpu(Batch& batch, const ImageShape& shape, int64_t group);
  Result<at::Tensor> batch_loss(const TorchBatch& images);
  Ranks* norm_ranks() const { return recipe_.train.sync_batch_norm ? ranks_ : nullptr; }
  // Pixels of a batch that may be drawn only.
  TorchBatch plain_batch(Batch& batch, const ImageShape& shape) const;

  TrainRecipe recipe_;
  at::Device device_;
  bool autocast_ = false;
  std::unique_ptr<TorchExecutor> network_;
  std::unique_ptr<TorchExecutor> average_;  // null without EMA
  std::unique_ptr<TorchExecutor> teacher_;
  std::unique_ptr<Optimiser> optimiser_;
  std::map<std::string, at::Tensor> masks_;
  SharedWeights shared_;
  LossSum losses_;

  Ranks* ranks_;
  std::unique_ptr<GradientSum> gradients_;  // null without ranks
  double batch_share_ = 1;                  // of the batch's images, this rank's
  int64_t gathered_ = 0;                    // batches since the last update

  GpuTools* tools_ = nullptr;  // on a GPU with our own part
  std::string no_tools_;       // on a GPU without it: why
  std::unique_ptr<GpuStep> gpu_;
  std::optional<ResidentImages> images_;  // the training images
  // What was validated on last; kept on the GPU.
  std::shared_ptr<const Dataset> validated_;
  std::optional<ResidentImages> validation_images_;
};

// Threads that prepare batches for a trainer on `device`. On the CPU they share the cores with it,
// and a batch takes a hundredth of a step; a GPU leaves the cores free and is quick to be done.
int loader_threads(at::Device device, const Ranks* ranks = nullptr);

// Accuracy of any executor.
struct EvaluateOptions {
  int64_t batch_size = 256;
  bool autocast = false;
  at::Device device = at::kCPU;
  const std::atomic<bool>* stop = nullptr;  // once it is set: kCancelled
  const ResidentImages* images = nullptr;   // those of the data, if they lie on the device already
  Ranks* ranks = nullptr;                   // each looks at its share; all get the whole's scores
};
Result<Scores> evaluate(TorchExecutor& executor, const std::shared_ptr<const Dataset>& data,
                        const EvaluateOptions& options);

}  // namespace pare

#endif  // PARE_TRAIN_STEPPER_H_
