// Device and pinned memory that frees itself, and CUDA's errors as Status.
#ifndef PARE_GPU_CUDA_MEMORY_H_
#define PARE_GPU_CUDA_MEMORY_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <utility>

#include "pare/status.h"

namespace pare::gpu::cuda {

// ok, or what `call` answered: "cudaMalloc: out of memory (error 2)".
Status status_of(cudaError_t error, const char* call);

#define PARE_CUDA(call) PARE_RETURN_IF_ERROR(::pare::gpu::cuda::status_of((call), #call))

enum class MemoryKind { kDevice, kPinned };

class Memory {
 public:
  // Running out says what was asked for and what was free. No bytes: no memory.
  static Result<Memory> create(size_t bytes, MemoryKind kind = MemoryKind::kDevice);

  Memory() = default;
  Memory(Memory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_), kind_(other.kind_) {}
  Memory& operator=(Memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(kind_, other.kind_);
    return *this;
  }
  ~Memory();

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  MemoryKind kind_ = MemoryKind::kDevice;
};

}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_MEMORY_H_
