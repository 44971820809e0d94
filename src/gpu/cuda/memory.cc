#include "gpu/cuda/memory.h"

#include <fmt/format.h>

#include <string>

namespace pare::gpu::cuda {

Status status_of(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return ok_status();
  // Errors that do not stick are forgotten here, so that the next call does not report them again.
  cudaGetLastError();
  const std::string text(call);
  const std::string message = fmt::format("{}: {} (error {})", text.substr(0, text.find('(')),
                                          cudaGetErrorString(error), static_cast<int>(error));
  switch (error) {
    case cudaErrorMemoryAllocation:
      return out_of_memory(message);
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNotSupported:
    case cudaErrorNoKernelImageForDevice:
      return unsupported(message);
    default:
      return internal_error(message);
  }
}

Result<Memory> Memory::create(size_t bytes, MemoryKind kind) {
  Memory memory;
  if (bytes == 0) return memory;
  void* data = nullptr;
  const bool device = kind == MemoryKind::kDevice;
  const cudaError_t error = device ? cudaMalloc(&data, bytes) : cudaMallocHost(&data, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0;
    size_t total = 0;
    cudaMemGetInfo(&free, &total);
    return out_of_memory(fmt::format(
        "{}: {} bytes asked for, {} of {} free on the device",
        device ? "cudaMalloc" : "cudaMallocHost (memory of the processor)", bytes, free, total));
  }
  PARE_RETURN_IF_ERROR(status_of(error, device ? "cudaMalloc" : "cudaMallocHost"));
  memory.data_ = static_cast<std::byte*>(data);
  memory.bytes_ = bytes;
  memory.kind_ = kind;
  return memory;
}

Memory::~Memory() {
  if (data_ == nullptr) return;
  if (kind_ == MemoryKind::kDevice) {
    cudaFree(data_);
  } else {
    cudaFreeHost(data_);
  }
}

}  // namespace pare::gpu::cuda
