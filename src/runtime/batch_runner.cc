#include "runtime/batch_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

namespace pare {

Result<std::unique_ptr<BatchRunner>> BatchRunner::create(BatchPlans plans, int threads) {
  auto runner = std::unique_ptr<BatchRunner>(new BatchRunner(std::move(plans)));
  const BatchPlans& p = runner->plans_;
  PARE_ASSIGN_OR_RETURN(runner->all_, PlanRunner::create(p.all));
  if (p.slice == nullptr) return runner;
  for (int i = 0; i < threads; ++i) {  // whichever threads take the slices
    PARE_ASSIGN_OR_RETURN(auto worker, PlanRunner::create(p.slice));
    runner->workers_.push_back(std::move(worker));
  }
  if (p.remainder != nullptr) {
    PARE_ASSIGN_OR_RETURN(runner->remainder_, PlanRunner::create(p.remainder));
  }
  return runner;
}

Status BatchRunner::run(const InputAdapter& adapter, std::span<const uint8_t> pixels,
                        std::span<float> scores, ThreadPool& pool, std::vector<double>* times_us) {
  size_t sliced_steps = 0;
  if (plans_.slice == nullptr) {
    adapter.convert(pixels, plans_.all->batch, all_->input(0));
  } else {
    PARE_RETURN_IF_ERROR(run_slices(adapter, pixels, pool, times_us));
    sliced_steps = plans_.slice->steps.size();
  }
  if (times_us == nullptr) {
    PARE_RETURN_IF_ERROR(all_->run(pool));
  } else {
    std::vector<double> times;
    PARE_RETURN_IF_ERROR(all_->run(pool, {}, &times));
    times_us->resize(sliced_steps + times.size());
    for (size_t i = 0; i < times.size(); ++i) (*times_us)[sliced_steps + i] += times[i];
  }
  std::memcpy(scores.data(), all_->output(0), scores.size_bytes());
  return ok_status();
}

Status BatchRunner::run_slices(const InputAdapter& adapter, std::span<const uint8_t> pixels,
                               ThreadPool& pool, std::vector<double>* times_us) {
  const int64_t batch = plans_.all->batch;
  const int64_t slice = plans_.slice->batch;
  const auto image_bytes = static_cast<int64_t>(pixels.size()) / batch;
  const View& between = plans_.all->inputs[0];
  const int64_t between_bytes = between.size() / batch * dtype_bits(between.type) / 8;
  const int64_t tasks = (batch + slice - 1) / slice;
  std::vector<Status> statuses(workers_.size());
  std::vector<std::vector<double>> times(workers_.size());
  pool.run(tasks, [&](int64_t task, int worker) {
    const auto w = static_cast<size_t>(worker);
    const int64_t first = task * slice;
    const int64_t count = std::min(slice, batch - first);
    PlanRunner& runner = count == slice ? *workers_[w] : *remainder_;
    // The few images left over are timed where their plan has the same steps.
    const bool timed =
        times_us != nullptr && runner.plan().steps.size() == plans_.slice->steps.size();
    adapter.convert(pixels.subspan(static_cast<size_t>(first * image_bytes),
                                   static_cast<size_t>(count * image_bytes)),
                    count, runner.input(0));
    Status status = runner.run(inline_pool_, {}, timed ? &times[w] : nullptr);
    if (!status.ok()) statuses[w] = std::move(status);
    std::memcpy(all_->input(0) + first * between_bytes, runner.output(0),
                static_cast<size_t>(count * between_bytes));
  });
  for (Status& status : statuses) PARE_RETURN_IF_ERROR(std::move(status));
  if (times_us == nullptr) return ok_status();
  times_us->resize(std::max(times_us->size(), plans_.slice->steps.size()));
  for (const std::vector<double>& worker : times) {
    for (size_t i = 0; i < worker.size(); ++i) {
      (*times_us)[i] += worker[i] / static_cast<double>(workers_.size());
    }
  }
  return ok_status();
}

namespace {

// Of the buffers of one run that a step touches, each once, without the constants.
int64_t activation_bytes(const Plan& plan, const Step& step) {
  std::set<int> buffers(step.reads.begin(), step.reads.end());
  buffers.insert(step.writes.begin(), step.writes.end());
  int64_t bytes = 0;
  for (const int b : buffers) {
    const Buffer& buffer = plan.buffers[static_cast<size_t>(b)];
    if (!buffer.is_constant) bytes += buffer.bytes;
  }
  return bytes;
}

}  // namespace

std::vector<LayerPlan> BatchRunner::layers() const {
  std::vector<LayerPlan> layers;
  if (plans_.slice != nullptr) {
    const int64_t slice = plans_.slice->batch;
    for (const Step& step : plans_.slice->steps) {
      layers.push_back(step.layer);
      layers.back().slices = (plans_.all->batch + slice - 1) / slice;
      layers.back().activation_bytes =
          activation_bytes(*plans_.slice, step) * plans_.all->batch / slice;
      layers.back().reason +=
          fmt::format("; {} images at a time, each slice on one core", plans_.slice->batch);
    }
  }
  for (const Step& step : plans_.all->steps) {
    layers.push_back(step.layer);
    layers.back().activation_bytes = activation_bytes(*plans_.all, step);
  }
  return layers;
}

MemoryUse BatchRunner::memory() const {
  MemoryUse use;
  const auto add = [&use](const std::shared_ptr<const Plan>& plan, size_t copies) {
    if (plan == nullptr) return;
    for (const Buffer& buffer : plan->buffers) {
      if (buffer.is_constant && !buffer.in_weight_store) use.weights_bytes += buffer.bytes;
    }
    use.arena_bytes += plan->arena_bytes * static_cast<int64_t>(copies);
    use.scratch_bytes += plan->scratch_bytes * static_cast<int64_t>(copies);
  };
  add(plans_.slice, workers_.size());
  add(plans_.remainder, 1);
  add(plans_.all, 1);
  return use;
}

}  // namespace pare
