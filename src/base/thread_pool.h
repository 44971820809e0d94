// A persistent pool of threads for the kernels: no fork and join per operation.
//
// run(tasks, f) calls f(task, worker) once for every task in 0 … tasks-1 and returns when all are
// done; the calling thread is worker 0. Tasks are taken in order from a shared counter, so which
// worker runs which task is not fixed: a kernel writes only what its task owns, and results are the
// same for any number of threads. Between jobs a worker spins for at most kSpinMicroseconds and
// then sleeps. One job at a time: run() may be called from one thread only, and not from inside a
// task.
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

  void run_job(int64_t tasks, Function function, void* context);
  void work(int worker);
  void take_tasks(int worker);

  std::vector<std::thread> workers_;
  Function function_ = nullptr;
  void* context_ = nullptr;
  int64_t tasks_ = 0;
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<int> busy_{0};
  std::atomic<bool> stop_{false};
};

// Cores that this process may run on.
int available_cores();

}  // namespace pare

#endif  // PARE_BASE_THREAD_POOL_H_
