#include "gpu/cuda/session.h"

#include <fmt/format.h>

#include <cstring>

#include "gpu/cuda/energy.h"
#include "gpu/lowering.h"
#include "runtime/planner.h"

namespace pare::gpu::cuda {

Result<std::unique_ptr<CudaSession>> CudaSession::create(DeviceRequest request) {
  std::unique_ptr<CudaSession> session(new CudaSession(std::move(request)));
  PARE_RETURN_IF_ERROR(session->open());
  return session;
}

Status CudaSession::open() {
  if (request_.precision == "tf32") {
    launch_.tf32 = true;
  } else {
    PARE_ASSIGN_OR_RETURN(storage_, storage_type(request_.precision));
  }
  int count = 0;
  PARE_CUDA(cudaGetDeviceCount(&count));
  if (count == 0) return unsupported("cudaGetDeviceCount: no GPU");
  int device = 0;
  PARE_CUDA(cudaGetDevice(&device));
  const auto attribute = [&](cudaDeviceAttr what, int& value) {
    return status_of(cudaDeviceGetAttribute(&value, what, device), "cudaDeviceGetAttribute");
  };
  int major = 0;
  int minor = 0;
  PARE_RETURN_IF_ERROR(attribute(cudaDevAttrComputeCapabilityMajor, major));
  PARE_RETURN_IF_ERROR(attribute(cudaDevAttrComputeCapabilityMinor, minor));
  PARE_RETURN_IF_ERROR(attribute(cudaDevAttrMultiProcessorCount, launch_.device.processors));
  PARE_RETURN_IF_ERROR(
      attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, launch_.device.shared_bytes));
  launch_.device.capability = major * 10 + minor;
  if (launch_.device.capability < 80) {
    return unsupported(
        fmt::format("the GPU has compute capability {}.{}, 8.0 is the least", major, minor));
  }
  PARE_CUDA(cudaStreamCreateWithFlags(&launch_.stream, cudaStreamNonBlocking));
  return ok_status();
}

CudaSession::~CudaSession() {
  runners_.clear();
  if (launch_.stream != nullptr) cudaStreamDestroy(launch_.stream);
}

Status CudaSession::remembered(Status status) {
  if (status.code() != StatusCode::kInternal) return status;
  // A device that still answers has not been lost.
  const cudaError_t sticky = cudaStreamSynchronize(launch_.stream);
  if (sticky != cudaSuccess) {
    failed_ = status.with_context("the device is lost to this process");
  }
  return status;
}

std::byte* CudaSession::address_of(int64_t offset) const {
  auto chunk = chunks_.upper_bound(offset);
  --chunk;
  return chunk->second.data() + (offset - chunk->first);
}

// What was appended to the weight block becomes one chunk of device memory.
Status CudaSession::upload() {
  const std::vector<WeightBlock::Part> parts = block_.take_new();
  if (parts.empty()) return ok_status();
  const int64_t begin = parts.front().offset;
  PARE_ASSIGN_OR_RETURN(Memory chunk,
                        Memory::create(static_cast<size_t>(block_.byte_count() - begin)));
  for (const WeightBlock::Part& part : parts) {
    PARE_CUDA(cudaMemcpyAsync(chunk.data() + (part.offset - begin), part.tensor.data(),
                              static_cast<size_t>(part.tensor.byte_count()), cudaMemcpyHostToDevice,
                              launch_.stream));
  }
  PARE_CUDA(cudaStreamSynchronize(launch_.stream));
  chunks_.emplace(begin, std::move(chunk));
  return ok_status();
}

Result<Runner*> CudaSession::runner(int64_t batch) {
  PARE_RETURN_IF_ERROR(failed_);
  if (const auto it = runners_.find(batch); it != runners_.end()) return it->second.get();
  ProgramOptions target;
  target.encoders = launch_.device.shared_bytes >= kEncoderSharedBytes;
  target.wide_pixels = true;
  target.periodic_residuals = true;
  PARE_ASSIGN_OR_RETURN(
      Program program,
      make_program(request_.graph, batch, storage_, request_.adapter, constants_, block_, target));
  PARE_RETURN_IF_ERROR(remembered(upload()));
  auto made = Runner::create(std::move(program), launch_,
                             [this](int64_t offset) { return address_of(offset); });
  if (!made.ok()) return remembered(made.status());
  return runners_.emplace(batch, *std::move(made)).first->second.get();
}

Status CudaSession::run(std::span<const uint8_t> pixels, int64_t count, std::span<float> scores) {
  PARE_ASSIGN_OR_RETURN(Runner * runner, this->runner(count));
  return remembered(runner->run(pixels, scores));
}

Result<std::vector<LayerPlan>> CudaSession::plan(int64_t batch) {
  PARE_ASSIGN_OR_RETURN(Runner * runner, this->runner(batch));
  return runner->layers();
}

Result<MemoryUse> CudaSession::memory(int64_t batch) {
  PARE_ASSIGN_OR_RETURN(Runner * runner, this->runner(batch));
  return MemoryUse{.weights_bytes = block_.byte_count(),
                   .arena_bytes = runner->arena_bytes(),
                   .scratch_bytes = runner->workspace_bytes()};
}

Result<DeviceInfo> CudaSession::info() {
  PARE_RETURN_IF_ERROR(failed_);
  int device = 0;
  PARE_CUDA(cudaGetDevice(&device));
  cudaDeviceProp properties = {};
  PARE_CUDA(cudaGetDeviceProperties(&properties, device));
  size_t free = 0;
  size_t total = 0;
  PARE_CUDA(cudaMemGetInfo(&free, &total));
  DeviceInfo info;
  info.name = properties.name;
  info.memory_bytes = static_cast<int64_t>(total);
  info.free_bytes = static_cast<int64_t>(free);
  char bus[32] = {};
  PARE_CUDA(cudaDeviceGetPCIBusId(bus, sizeof(bus), device));
  read_sensors(bus, info);
  return info;
}

Result<std::vector<double>> CudaSession::device_times_us(int64_t batch, int runs) {
  PARE_ASSIGN_OR_RETURN(Runner * runner, this->runner(batch));
  return runner->times_us(runs);
}

Result<std::vector<double>> CudaSession::step_times_us(int64_t batch, int runs) {
  PARE_ASSIGN_OR_RETURN(Runner * runner, this->runner(batch));
  return runner->step_times_us(runs);
}

}  // namespace pare::gpu::cuda
