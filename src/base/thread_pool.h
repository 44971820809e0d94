// A persistent pool of threads for the kernels: no fork and join per operation.
//
// run(tasks, f) calls f(task, worker) once for every task in 0 … tasks-1 and returns when all are
// done; the calling thread is worker 0. Tasks are taken in order from a shared counter, so which
// worker runs which task is not fixed: a kernel writes only what its task owns, and results are the
// same for any number of threads. Between jobs a worker spins for at most kSpinMicroseconds and
// then sleeps. run() waits for tasks, not for workers: one that the operating system keeps waiting
// takes no task and delays nobody. One job at a time: run() may be called from one thread only, and
// not from inside a task.
#ifndef PARE_BASE_THREAD_POOL_H_
#define PARE_BASE_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace pare {

class ThreadPool {
 public:
  // `threads` counts the caller: ThreadPool(1) starts none.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  template <typename F>
  void run(int64_t tasks, F&& f) {
    if (tasks <= 0) return;
    if (workers_.empty() || tasks == 1) {
      for (int64_t t = 0; t < tasks; ++t) f(t, 0);
      return;
    }
    run_job(
        tasks,
        [](void* context, int64_t task, int worker) {
          (*static_cast<std::remove_reference_t<F>*>(context))(task, worker);
        },
        const_cast<void*>(static_cast<const void*>(&f)));
  }

  static constexpr int kSpinMicroseconds = 500;

 private:
  using Function = void (*)(void* context, int64_t task, int worker);

  // The job's number in the upper half, its next task in the lower. A task is taken by advancing
  // the whole: that fails if the job is not the one whose fields were read.
  using Ticket = uint64_t;
  static constexpr Ticket kClosed = 0xffffffffU;  // a next task that nobody may take

  void run_job(int64_t tasks, Function function, void* context);
  void work(int worker);
  void take_tasks(int worker);

  const int pauses_;  // of a wait, before it yields
  std::vector<std::thread> workers_;
  std::atomic<Function> function_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<int64_t> tasks_{0};
  alignas(64) std::atomic<Ticket> ticket_{kClosed};
  alignas(64) std::atomic<uint32_t> published_{0};  // jobs so far; workers sleep on it
  alignas(64) std::atomic<int64_t> done_{0};        // tasks of the current job
  std::atomic<bool> stop_{false};
};

// Cores that this process may run on.
int available_cores();

}  // namespace pare

#endif  // PARE_BASE_THREAD_POOL_H_
