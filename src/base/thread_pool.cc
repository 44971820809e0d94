#include "base/thread_pool.h"

#include <sched.h>

#include <chrono>

namespace pare {
namespace {

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Looks that only pause between them (a pause: 24 ns on Zen 3, up to 50 elsewhere). Where there is
// a core for each thread that covers the wait for the last task of a step; with more threads than
// cores the one waited for may need this core.
int pauses_for(int threads) { return threads <= available_cores() ? 8000 : 2000; }

// Waits until `changed` is true or the spinning time is up; says which. The first microseconds only
// pause, since most waits are that short; then the core is offered to others between looks, so that
// more threads than cores still get on.
template <typename F>
bool spin_until(int pauses, F&& changed) {
  using Clock = std::chrono::steady_clock;
  for (int i = 0; i < pauses; ++i) {
    if (changed()) return true;
    pause_briefly();
  }
  const auto deadline = Clock::now() + std::chrono::microseconds(ThreadPool::kSpinMicroseconds);
  do {
    if (changed()) return true;
    std::this_thread::yield();
  } while (Clock::now() < deadline);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(int threads) : pauses_(pauses_for(threads)) {
  for (int w = 1; w < threads; ++w) workers_.emplace_back([this, w] { work(w); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  published_.fetch_add(1);
  published_.notify_all();
  for (std::thread& t : workers_) t.join();
}

void ThreadPool::take_tasks(int worker) {
  while (true) {
    Ticket ticket = ticket_.load(std::memory_order_acquire);
    const Function function = function_.load(std::memory_order_acquire);
    void* const context = context_.load(std::memory_order_acquire);
    const int64_t tasks = tasks_.load(std::memory_order_acquire);
    const auto task = static_cast<int64_t>(ticket & kClosed);
    if (task == static_cast<int64_t>(kClosed) || task >= tasks) return;
    // Fails if another took the task, or if the fields are another job's.
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) continue;
    function(context, task, worker);
    if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == tasks) done_.notify_one();
  }
}

void ThreadPool::run_job(int64_t tasks, Function function, void* context) {
  if (tasks >= static_cast<int64_t>(kClosed)) {
    for (int64_t t = 0; t < tasks; ++t) function(context, t, 0);
    return;
  }
  // Close first: a worker that read the old ticket must not take a task by the new fields.
  const Ticket job = ((ticket_.load(std::memory_order_relaxed) >> 32) + 1) << 32;
  ticket_.store(job | kClosed, std::memory_order_seq_cst);
  function_.store(function, std::memory_order_release);
  context_.store(context, std::memory_order_release);
  tasks_.store(tasks, std::memory_order_release);
  done_.store(0, std::memory_order_relaxed);
  ticket_.store(job + (Ticket{1} << 32), std::memory_order_release);
  published_.fetch_add(1, std::memory_order_release);
  published_.notify_all();
  take_tasks(0);
  const auto finished = [&] { return done_.load(std::memory_order_acquire) == tasks; };
  while (!spin_until(pauses_, finished)) {
    const int64_t done = done_.load(std::memory_order_acquire);
    if (done != tasks) done_.wait(done);
  }
}

void ThreadPool::work(int worker) {
  uint32_t seen = 0;
  while (true) {
    const auto changed = [&] { return published_.load(std::memory_order_acquire) != seen; };
    if (!spin_until(pauses_, changed)) published_.wait(seen, std::memory_order_acquire);
    if (!changed()) continue;
    seen = published_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    take_tasks(worker);
  }
}

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace pare
