#include "runtime/plan.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>

namespace pare {

std::vector<int> plain_order(int rank) {
  std::vector<int> order(static_cast<size_t>(rank));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

std::vector<int> channels_last_order(int rank) {
  std::vector<int> order = plain_order(rank);
  if (rank > 2) std::rotate(order.begin() + 1, order.begin() + 2, order.end());
  return order;
}

std::vector<int> memory_order(const View& view) {
  std::vector<int> order = plain_order(static_cast<int>(view.shape.size()));
  // Dimensions of size 1 stay where they are: they are given the stride that keeps the logical
  // order, that of their inner neighbour.
  std::vector<int64_t> strides(view.strides);
  for (size_t d = strides.size(); d-- > 0;) {
    if (view.shape[d] == 1) strides[d] = d + 1 < strides.size() ? strides[d + 1] : 0;
  }
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return strides[static_cast<size_t>(a)] > strides[static_cast<size_t>(b)];
  });
  return order;
}

Shape strides_in_order(const Shape& shape, const std::vector<int>& order) {
  Shape strides(shape.size());
  int64_t step = 1;
  for (size_t i = order.size(); i-- > 0;) {
    const auto d = static_cast<size_t>(order[i]);
    strides[d] = step;
    step *= std::max<int64_t>(1, shape[d]);
  }
  return strides;
}

bool is_dense_in(const View& view, const std::vector<int>& order) {
  const Shape want = strides_in_order(view.shape, order);
  for (size_t d = 0; d < want.size(); ++d) {
    if (view.shape[d] != 1 && view.strides[d] != want[d]) return false;
  }
  return true;
}

bool is_dense(const View& view) {
  return is_dense_in(view, plain_order(static_cast<int>(view.shape.size())));
}

namespace {

// A graph can ask for any amount; the system would promise it and kill the process on use.
Status check_memory(int64_t bytes) {
  const int64_t physical = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE);
  if (physical <= 0 || bytes <= physical) return ok_status();
  return out_of_memory(fmt::format("the activations need {} MB, this machine has {} MB of memory",
                                   bytes >> 20, physical >> 20));
}

}  // namespace

Result<std::unique_ptr<PlanRunner>> PlanRunner::create(std::shared_ptr<const Plan> plan) {
  auto runner = std::unique_ptr<PlanRunner>(new PlanRunner(std::move(plan)));
  const Plan& p = *runner->plan_;
  PARE_RETURN_IF_ERROR(check_memory(p.arena_bytes + p.scratch_bytes));
  PARE_ASSIGN_OR_RETURN(runner->arena_, Tensor::create(DType::kUInt8, {p.arena_bytes}));
  PARE_ASSIGN_OR_RETURN(runner->scratch_, Tensor::create(DType::kUInt8, {p.scratch_bytes}));
  std::byte* arena = runner->arena_.mutable_data();
  for (const Buffer& buffer : p.buffers) {
    // Steps only read constants; the cast spares every view a second kind of pointer.
    runner->bases_.push_back(buffer.is_constant ? const_cast<std::byte*>(buffer.constant.data())
                                                : arena + buffer.arena_offset);
  }
  return runner;
}

std::byte* PlanRunner::pointer(const View& view) const {
  return bases_[static_cast<size_t>(view.buffer)] + view.offset * dtype_bits(view.type) / 8;
}

std::vector<Tensor> PlanRunner::outputs() const {
  std::vector<Tensor> tensors;
  for (const View& view : plan_->outputs) {
    Tensor t(view.type, view.shape);
    if (t.byte_count() > 0) {
      std::memcpy(t.mutable_data(), pointer(view), static_cast<size_t>(t.byte_count()));
    }
    tensors.push_back(std::move(t));
  }
  return tensors;
}

Status PlanRunner::show_taps(
    size_t& next, int step,
    const std::function<Status(const std::string&, const Tensor&)>& show) const {
  for (; next < plan_->taps.size() && plan_->taps[next].after_step <= step; ++next) {
    if (!show) continue;
    const Tap& tap = plan_->taps[next];
    // Not owned: the memory is the arena's, valid while the callback runs.
    const std::shared_ptr<const std::byte> memory(std::shared_ptr<void>(), pointer(tap.view));
    PARE_RETURN_IF_ERROR(
        show(tap.name, Tensor::from_external(tap.view.type, tap.view.shape, memory)));
  }
  return ok_status();
}

Status PlanRunner::run_group(const RowGroup& group, ThreadPool& pool, double* times_us) {
  using Clock = std::chrono::steady_clock;
  const auto count = static_cast<size_t>(group.last - group.first);
  const auto threads = static_cast<size_t>(pool.threads());
  const auto scratch_bytes = static_cast<size_t>(group.scratch_bytes);
  std::byte* scratch = scratch_.mutable_data();
  std::vector<Status> statuses(threads);
  std::vector<double> times(times_us == nullptr ? 0 : threads * count);
  pool.run(group.blocks, [&](int64_t block, int worker) {
    const auto w = static_cast<size_t>(worker);
    const StepContext context(bases_, {scratch + w * scratch_bytes, scratch_bytes}, inline_pool_);
    const int64_t first = group.first_row(block);
    auto before = times_us != nullptr ? Clock::now() : Clock::time_point();
    for (size_t s = 0; s < count; ++s) {
      const Step& step = plan_->steps[static_cast<size_t>(group.first) + s];
      Status status = step.by_rows.run(context, first, group.first_row(block + 1) - first);
      if (!status.ok()) statuses[w] = status.with_context("node '" + step.layer.name + "'");
      if (times_us == nullptr) continue;
      const auto now = Clock::now();
      times[w * count + s] += std::chrono::duration<double, std::micro>(now - before).count();
      before = now;
    }
  });
  for (Status& status : statuses) PARE_RETURN_IF_ERROR(std::move(status));
  for (size_t i = 0; i < times.size(); ++i) {
    times_us[i % count] += times[i] / static_cast<double>(threads);
  }
  return ok_status();
}

Status PlanRunner::run(ThreadPool& pool,
                       const std::function<Status(const std::string&, const Tensor&)>& show,
                       std::vector<double>* times_us) {
  using Clock = std::chrono::steady_clock;
  const StepContext context(
      bases_, {scratch_.mutable_data(), static_cast<size_t>(plan_->scratch_bytes)}, pool);
  if (times_us != nullptr) times_us->resize(plan_->steps.size());
  size_t tap = 0;
  auto group = plan_->row_groups.begin();
  PARE_RETURN_IF_ERROR(show_taps(tap, -1, show));
  for (size_t i = 0; i < plan_->steps.size(); ++i) {
    if (group != plan_->row_groups.end() && static_cast<size_t>(group->first) == i) {
      double* its_times = times_us == nullptr ? nullptr : times_us->data() + i;
      PARE_RETURN_IF_ERROR(run_group(*group, pool, its_times));
      i = static_cast<size_t>(group->last) - 1;
      ++group;
      if (tap < plan_->taps.size()) PARE_RETURN_IF_ERROR(show_taps(tap, static_cast<int>(i), show));
      continue;
    }
    const auto begin = times_us != nullptr ? Clock::now() : Clock::time_point();
    if (Status status = plan_->steps[i].run(context); !status.ok()) {
      return status.with_context("node '" + plan_->steps[i].layer.name + "'");
    }
    if (times_us != nullptr) {
      (*times_us)[i] += std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
    }
    if (tap < plan_->taps.size()) PARE_RETURN_IF_ERROR(show_taps(tap, static_cast<int>(i), show));
  }
  return ok_status();
}

}  // namespace pare
