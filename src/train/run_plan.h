// What a training run will do, before it does anything.
#ifndef PARE_TRAIN_RUN_PLAN_H_
#define PARE_TRAIN_RUN_PLAN_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "pare/status.h"

#include "data/dataset.h"
#include "graph/graph.h"
#include "train/train.h"

namespace pare {

// Steps and batches of the run. An epoch's last step may gather fewer batches than the others.
struct RunPlan {
  int64_t batches_per_epoch = 0;
  int64_t accumulate = 1;
  int64_t steps_per_epoch = 0;
  int64_t total_steps = 0;

  int64_t epoch_of(int64_t step) const { return step / steps_per_epoch; }
  int64_t first_batch(int64_t step) const { return step % steps_per_epoch * accumulate; }
  int64_t group(int64_t step) const {
    return std::min(accumulate, batches_per_epoch - first_batch(step));
  }
  int64_t epochs() const { return (total_steps + steps_per_epoch - 1) / steps_per_epoch; }
  bool ends_epoch(int64_t done) const { return done % steps_per_epoch == 0 || done == total_steps; }
};

RunPlan plan_run(const TrainRun& run);

// Names and shapes of the weights, and the nodes.
std::string network_hash(const Graph& graph);

// Takes the images that are set aside out of the training images; gives what the epochs are
// validated on, null for nothing.
Result<std::shared_ptr<const Dataset>> split_validation(TrainRun& run);

// A teacher of other classes; what its file does not say shows at the first step.
Status check_teacher(const TrainRun& run);

// Every rank needs an image of every batch, and its partner, with which it may be mixed.
Status check_ranks(const TrainRun& run);

}  // namespace pare

#endif  // PARE_TRAIN_RUN_PLAN_H_
