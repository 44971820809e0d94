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

// Waits until `changed` is true or the spinning time is up; says which. The first microseconds only
// pause, since most waits are that short; then the core is offered to others between looks, so that
// more threads than cores still get on.
template <typename F>
bool spin_until(F&& changed) {
  using Clock = std::chrono::steady_clock;
  constexpr int kPauses = 2000;
  for (int i = 0; i < kPauses; ++i) {
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

ThreadPool::ThreadPool(int threads) {
  for (int w = 1; w < threads; ++w) workers_.emplace_back([this, w] { work(w); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  generation_.fetch_add(1);
  generation_.notify_all();
  for (std::thread& t : workers_) t.join();
}

void ThreadPool::take_tasks(int worker) {
  while (true) {
    const int64_t task = next_.fetch_add(1, std::memory_order_relaxed);
    if (task >= tasks_) return;
    function_(context_, task, worker);
  }
}

void ThreadPool::run_job(int64_t tasks, Function function, void* context) {
  function_ = function;
  context_ = context;
  tasks_ = tasks;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  take_tasks(0);
  const auto done = [this] { return busy_.load(std::memory_order_acquire) == 0; };
  while (!spin_until(done)) {
    const int busy = busy_.load(std::memory_order_acquire);
    if (busy != 0) busy_.wait(busy);
  }
}

void ThreadPool::work(int worker) {
  uint32_t seen = 0;
  while (true) {
    const auto changed = [&] { return generation_.load(std::memory_order_acquire) != seen; };
    if (!spin_until(changed)) generation_.wait(seen, std::memory_order_acquire);
    if (!changed()) continue;
    ++seen;
    if (stop_.load()) return;
    take_tasks(worker);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
  }
}

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace pare
