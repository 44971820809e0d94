#include "gpu/cuda/encoder/encoder.cuh"

namespace pare::gpu::cuda {

cudaError_t launch_encoder_f16(const EncoderOp& op, const Launch& launch) {
  return launch_encoder<__half>(op, launch);
}

}  // namespace pare::gpu::cuda
