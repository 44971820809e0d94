// The kernels for attention, and what each takes (attention.cu chooses).
#ifndef PARE_GPU_CUDA_ATTENTION_VARIANTS_H_
#define PARE_GPU_CUDA_ATTENTION_VARIANTS_H_

#include "gpu/cuda/kernels.h"

namespace pare::gpu::cuda {

// simple.cu: everything; keys and values of a head in shared memory where they fit.
cudaError_t launch_simple_attention(const AttentionOp& op, const Launch& launch);

// tensor.cu: 16-bit floats, heads of 64, at most 208 keys: whole rows of scores in registers.
bool takes_tensor_attention(const AttentionOp& op);
cudaError_t launch_tensor_attention(const AttentionOp& op, const Launch& launch);

}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_ATTENTION_VARIANTS_H_
