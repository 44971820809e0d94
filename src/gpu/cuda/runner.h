// Runner: a program ready to run: its memory, its operations with addresses, and the CUDA graph of
// the whole.
#ifndef PARE_GPU_CUDA_RUNNER_H_
#define PARE_GPU_CUDA_RUNNER_H_

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pare/session.h"
#include "pare/status.h"

#include "gpu/cuda/kernels.h"
#include "gpu/cuda/memory.h"
#include "gpu/program.h"

namespace pare::gpu::cuda {

class Runner {
 public:
  // `address_of`: where a constant of the weight block lies on the device.
  static Result<std::unique_ptr<Runner>> create(
      Program program, const Launch& launch,
      const std::function<std::byte*(int64_t offset)>& address_of);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Copies in, everything, copies out; returns when the scores are there.
  Status run(std::span<const uint8_t> pixels, std::span<float> scores);
  // Microseconds of each of `runs` runs of the operations alone, between events.
  Result<std::vector<double>> times_us(int runs);
  // Mean microseconds of each step, launched one by one.
  Result<std::vector<double>> step_times_us(int runs);
  std::vector<LayerPlan> layers() const;
  int64_t arena_bytes() const { return program_.arena_bytes; }
  int64_t workspace_bytes() const { return static_cast<int64_t>(workspace_.bytes()); }

 private:
  Runner(Program program, const Launch& launch) : program_(std::move(program)), launch_(launch) {}
  Status allocate();
  void resolve(const std::function<std::byte*(int64_t)>& address_of);
  Status launch_step(size_t index, bool first);
  Status launch_all();
  Result<cudaGraphExec_t> capture(bool with_copies);

  Program program_;
  Launch launch_;
  Memory input_;
  Memory output_;
  Memory arena_;
  Memory workspace_;
  Memory host_input_;
  Memory host_output_;
  cudaGraphExec_t with_copies_ = nullptr;
  cudaGraphExec_t alone_ = nullptr;
};

}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_RUNNER_H_
