#include "gpu/cuda/encoder/encoder.cuh"

namespace pare::gpu::cuda {

cudaError_t launch_encoder_bf16(const EncoderOp& op, const Launch& launch) {
  return launch_encoder<__nv_bfloat16>(op, launch);
}

}  // namespace pare::gpu::cuda
