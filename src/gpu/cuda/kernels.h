// The launches behind each operation of a program, on operands whose offsets have become addresses.
#ifndef PARE_GPU_CUDA_KERNELS_H_
#define PARE_GPU_CUDA_KERNELS_H_

#include <cuda_runtime_api.h>

#include <cstddef>

#include "gpu/program.h"

namespace pare::gpu::cuda {

struct Processors {
  int processors = 0;    // SMs
  int shared_bytes = 0;  // of one block, at most
  int capability = 0;    // 90 for sm_90
};

struct Launch {
  cudaStream_t stream = nullptr;
  Processors device;
  bool tf32 = false;     // float32 products may round their factors to TF32
  bool overlap = false;  // the launch before is a kernel of ours: ours may begin before it ends
  // For partial sums of products that are split along k; zeroed counters in front.
  void* workspace = nullptr;
  size_t workspace_bytes = 0;
};

// Every function launches one kernel (or says why it could not) and returns at once.
cudaError_t launch(const InputOp& op, const Launch& launch);
cudaError_t launch(const ProductOp& op, const Launch& launch);
cudaError_t launch(const RowsOp& op, const Launch& launch);
cudaError_t launch(const AttentionOp& op, const Launch& launch);
cudaError_t launch(const PoolOp& op, const Launch& launch);
cudaError_t launch(const ChainOp& op, const Launch& launch);
cudaError_t launch(const ReduceOp& op, const Launch& launch);
cudaError_t launch(const EncoderOp& op, const Launch& launch);
// Of shared memory that an encoder's block takes at most.
inline constexpr int kEncoderSharedBytes = 224 * 1024;

// The kernel that launch() would take, and why, for `pare explain`.
struct KernelChoice {
  const char* name = "";
  const char* reason = "the only one";
};
KernelChoice choice(const ProductOp& op, const Launch& launch);
KernelChoice choice(const AttentionOp& op, const Launch& launch);
// Bytes of Launch::workspace that the operation needs.
size_t workspace_bytes(const ProductOp& op, const Launch& launch);

}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_KERNELS_H_
