// GpuStep: the training step on a GPU, recorded once as a graph of launches and then repeated.
//
// What changes from step to step — which images, what was drawn for them, rate and decay — lies in
// the GPU's memory and is sent ahead from page-locked buffers; the loss stays there until somebody
// asks. So the CPU is some steps ahead, and the GPU never waits for it.
//
// The first steps are taken launch by launch, while LibTorch chooses its kernels. Where recording
// fails (an operator that waits for the GPU) it stays so, with the same results, and note() says
// why.
#ifndef PARE_TRAIN_GPU_STEP_H_
#define PARE_TRAIN_GPU_STEP_H_

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pare/status.h"

#include "data/loader.h"
#include "train/cuda/gpu_tools.h"
#include "train/executor.h"
#include "train/losses.h"
#include "train/optimiser.h"
#include "train/recipe.h"
#include "train/resident_images.h"

namespace pare {

// A sum of batches' losses; on a GPU it may be some batches behind.
struct LossSum {
  double sum = 0;
  int64_t batches = 0;
};

class GpuStep {
 public:
  struct Parts {
    const TorchExecutor& network;
    const TorchExecutor* average;  // may be null
    Optimiser& optimiser;
    const TrainRecipe& recipe;
    const std::map<std::string, at::Tensor>& masks;
    std::function<Result<at::Tensor>(const TorchBatch&)> loss;  // of a batch, with gradients
    // Sums over ranks begin in the backward pass, so nothing is recorded.
    bool ranks = false;
  };
  // All parts must outlive it.
  GpuStep(GpuTools& tools, Parts parts);

  // The training images, for batches that are only drawn (LoaderOptions::pixels).
  void use_images(ResidentImages images) { images_ = std::move(images); }

  // Forward and backward of one batch, its loss divided by `divisor`: how many batches make one
  // step, over the share of the batch that this is.
  Status accumulate(const Batch& batch, const ImageShape& shape, double divisor);
  // Uses up the gathered gradients. `step` counts from 0.
  Status update(int64_t step, double rate);

  void begin_losses(const LossSum& so_far);
  // What is known of the losses; `wait`: until all are.
  LossSum losses(bool wait);

  // After masks came that were not there before.
  void record_update_anew() { update_graph_.reset(); }
  // Why the steps are not recorded; empty if they are.
  const std::string& note() const { return note_; }
  // Of the GPU's time between the beginnings and ends of steps.
  double busy_seconds() { return clock_->seconds(/*wait=*/true); }

 private:
  void make_plan(const Batch& batch, const ImageShape& shape);
  void send(const Batch& batch, double divisor);
  void forward_backward();
  void apply_update();
  void gather_rows();
  at::Tensor gradient_scale();
  void apply_masks() const;
  void drop_gradients() const;
  bool run(std::unique_ptr<GpuGraph>& graph, const std::function<void()>& work);

  GpuTools& tools_;
  Parts parts_;
  std::optional<ResidentImages> images_;
  PixelWork work_ = {};
  bool drawn_only_ = false;  // batches come without pixels

  std::unique_ptr<GpuUpload> batch_upload_;
  int64_t batch_bytes_ = 0;
  at::Tensor batch_memory_;  // uint8, everything of a batch; the others are parts of it
  at::Tensor mix_, share_, positions_, draws_;
  TorchBatch batch_;

  std::unique_ptr<GpuUpload> scalar_upload_;
  at::Tensor scalars_;
  std::unique_ptr<GpuUpdate> update_;
  std::vector<at::Tensor> gradients_;  // as the update reads them

  std::unique_ptr<GpuGraph> first_graph_;  // forward and backward, into new gradients
  std::unique_ptr<GpuGraph> next_graph_;   // the same, added to those
  std::unique_ptr<GpuGraph> update_graph_;
  bool recording_ = true;
  bool publish_at_once_ = true;
  int64_t steps_ = 0;
  int64_t gathered_ = 0;  // batches since the last update
  std::string note_;

  at::Tensor loss_sum_;  // float64
  int64_t loss_batches_ = 0;
  LossSum known_;
  std::unique_ptr<GpuReadback> loss_readback_;
  std::optional<int64_t> asked_batches_;
  std::chrono::steady_clock::time_point last_asked_;
  std::unique_ptr<GpuClock> clock_;
};

}  // namespace pare

#endif  // PARE_TRAIN_GPU_STEP_H_
