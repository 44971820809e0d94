// What the tests of GPU kernels share: a device or a skip, operands on it, launches.
#ifndef PARE_TESTS_GPU_ON_GPU_H_
#define PARE_TESTS_GPU_ON_GPU_H_

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gpu/cuda/kernels.h"
#include "gpu/cuda/memory.h"
#include "testing/operands.h"

namespace pare::gpu::cuda::testing_gpu {

using testing_memory::GuardedBuffer;

// Skips the test where there is no GPU, saying why.
class OnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0) {
      GTEST_SKIP() << "no GPU: " << cudaGetErrorString(error);
    }
    ASSERT_EQ(cudaDeviceGetAttribute(&how_.device.processors, cudaDevAttrMultiProcessorCount, 0),
              cudaSuccess);
    ASSERT_EQ(cudaDeviceGetAttribute(&how_.device.shared_bytes,
                                     cudaDevAttrMaxSharedMemoryPerBlockOptin, 0),
              cudaSuccess);
    int major = 0;
    int minor = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
    how_.device.capability = major * 10 + minor;
  }

  // A copy on the device, as an operand; lives as long as the test.
  Operand upload(GuardedBuffer& buffer, DType type) {
    return upload(buffer.data(), static_cast<size_t>(buffer.size_bytes()), type);
  }
  Operand upload(const void* data, size_t bytes, DType type) {
    if (bytes == 0) return {.offset = 0, .space = Space::kNone, .type = type};
    auto memory = Memory::create(bytes);
    EXPECT_TRUE(memory.ok());
    EXPECT_EQ(cudaMemcpy(memory->data(), data, bytes, cudaMemcpyHostToDevice), cudaSuccess);
    const auto address = reinterpret_cast<int64_t>(memory->data());
    memory_.push_back(*std::move(memory));
    return {.offset = address, .space = Space::kArena, .type = type};
  }
  Operand allocate(int64_t count, DType type) {
    const std::vector<std::byte> pattern(static_cast<size_t>(count * dtype_bytes(type)),
                                         std::byte{0xff});
    return upload(pattern.data(), pattern.size(), type);
  }
  std::vector<float> download(const Operand& operand, int64_t count) {
    GuardedBuffer buffer(count * dtype_bytes(operand.type));
    if (count > 0) {
      EXPECT_EQ(cudaMemcpy(buffer.data(), reinterpret_cast<const void*>(operand.offset),
                           static_cast<size_t>(buffer.size_bytes()), cudaMemcpyDeviceToHost),
                cudaSuccess);
    }
    return testing_operands::as_floats(operand.type, buffer);
  }
  void take_workspace(size_t bytes) {
    if (bytes == 0) return;
    const std::vector<std::byte> zeros(bytes);
    how_.workspace = reinterpret_cast<void*>(upload(zeros.data(), bytes, DType::kUInt8).offset);
  }
  // Waits for what `launched` has started; false, with the error reported, when it failed.
  bool finished(cudaError_t launched) {
    EXPECT_EQ(launched, cudaSuccess) << cudaGetErrorString(launched);
    const cudaError_t ran = cudaDeviceSynchronize();
    EXPECT_EQ(ran, cudaSuccess) << cudaGetErrorString(ran);
    return launched == cudaSuccess && ran == cudaSuccess;
  }
  void forget() { memory_.clear(); }

  Launch how_;

 private:
  std::vector<Memory> memory_;
};

}  // namespace pare::gpu::cuda::testing_gpu

#endif  // PARE_TESTS_GPU_ON_GPU_H_
