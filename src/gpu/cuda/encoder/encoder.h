#ifndef PARE_GPU_CUDA_ENCODER_ENCODER_H_
#define PARE_GPU_CUDA_ENCODER_ENCODER_H_

#include "gpu/cuda/kernels.h"

namespace pare::gpu::cuda {

cudaError_t launch_encoder_f16(const EncoderOp& op, const Launch& launch);
cudaError_t launch_encoder_bf16(const EncoderOp& op, const Launch& launch);

}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_ENCODER_ENCODER_H_
