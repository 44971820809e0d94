// BatchRunner: a session's work for one batch size: images in, scores out, by one plan or in
// slices.
#ifndef PARE_RUNTIME_BATCH_RUNNER_H_
#define PARE_RUNTIME_BATCH_RUNNER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "pare/session.h"
#include "pare/status.h"

#include "runtime/input_adapter.h"
#include "runtime/plan.h"

namespace pare {

struct BatchPlans {
  // Of one slice of the images, and of those that do not fill one; both for one thread, and null
  // when everything is in `all`.
  std::shared_ptr<const Plan> slice;
  std::shared_ptr<const Plan> remainder;  // null also when all slices are full
  std::shared_ptr<const Plan> all;        // of the whole batch, after the slices
};

class BatchRunner {
 public:
  // `threads`: of the pool that run() is given.
  static Result<std::unique_ptr<BatchRunner>> create(BatchPlans plans, int threads);

  // `pixels` and `scores` of exactly the batch. With `times_us` not null, the microseconds of each
  // of layers() are added to it: of all threads together, divided by their number.
  Status run(const InputAdapter& adapter, std::span<const uint8_t> pixels, std::span<float> scores,
             ThreadPool& pool, std::vector<double>* times_us);

  std::vector<LayerPlan> layers() const;
  // Constants are those that no weight store holds: tables, parameters of norms.
  MemoryUse memory() const;

 private:
  explicit BatchRunner(BatchPlans plans) : plans_(std::move(plans)) {}
  Status run_slices(const InputAdapter& adapter, std::span<const uint8_t> pixels, ThreadPool& pool,
                    std::vector<double>* times_us);

  BatchPlans plans_;
  std::vector<std::unique_ptr<PlanRunner>> workers_;  // one a thread
  std::unique_ptr<PlanRunner> remainder_;
  std::unique_ptr<PlanRunner> all_;
  ThreadPool inline_pool_{1};  // what the steps of a slice run in: their own thread
};

}  // namespace pare

#endif  // PARE_RUNTIME_BATCH_RUNNER_H_
