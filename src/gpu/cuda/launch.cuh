// One way to launch: with programmatic dependent launch, so that a kernel's blocks are placed while
// the one before still runs. Kernels call wait_for_previous() before they touch activations.
#ifndef PARE_GPU_CUDA_LAUNCH_CUH_
#define PARE_GPU_CUDA_LAUNCH_CUH_

#include <cuda_runtime.h>

#include "gpu/cuda/kernels.h"

namespace pare::gpu::cuda {

template <typename... Params, typename... Args>
cudaError_t start(const Launch& launch, void (*kernel)(Params...), dim3 grid, dim3 block,
                  size_t shared, const Args&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaSuccess;  // nothing to compute
  constexpr size_t kWithoutAsking = 40 * 1024;  // 48 kB together with what a kernel declares itself
  if (shared > kWithoutAsking) {
    const cudaError_t error = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    if (error != cudaSuccess) return error;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = launch.stream;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = launch.overlap && launch.device.capability >= 90 ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...);
}

inline int blocks_for(int64_t count, int threads) {
  return static_cast<int>((count + threads - 1) / threads);
}

}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_LAUNCH_CUH_
