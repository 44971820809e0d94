// CudaSession: a model on a GPU; one stream of its own.
#ifndef PARE_GPU_CUDA_SESSION_H_
#define PARE_GPU_CUDA_SESSION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "pare/status.h"

#include "gpu/cuda/memory.h"
#include "gpu/cuda/runner.h"
#include "gpu/weights.h"
#include "runtime/device_session.h"
#include "runtime/lowering.h"

namespace pare::gpu::cuda {

class CudaSession final : public DeviceSession {
 public:
  // On the current device of CUDA (CUDA_VISIBLE_DEVICES chooses).
  static Result<std::unique_ptr<CudaSession>> create(DeviceRequest request);
  ~CudaSession() override;

  Status run(std::span<const uint8_t> pixels, int64_t count, std::span<float> scores) override;
  Result<std::vector<LayerPlan>> plan(int64_t batch) override;
  Result<MemoryUse> memory(int64_t batch) override;
  Result<DeviceInfo> info() override;
  Result<std::vector<double>> device_times_us(int64_t batch, int runs) override;
  Result<std::vector<double>> step_times_us(int64_t batch, int runs) override;

 private:
  explicit CudaSession(DeviceRequest request) : request_(std::move(request)) {}
  Status open();
  Result<Runner*> runner(int64_t batch);
  Status upload();
  std::byte* address_of(int64_t offset) const;
  // After an error that the device does not recover from, every call says so.
  Status remembered(Status status);

  DeviceRequest request_;
  DType storage_ = DType::kFloat32;
  Launch launch_;
  Status failed_;
  WeightStore constants_;
  WeightBlock block_;
  std::map<int64_t, Memory> chunks_;  // of the weight block, by their first offset
  std::map<int64_t, std::unique_ptr<Runner>> runners_;
};

}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_SESSION_H_
