#include "gpu/cuda/encoder/encoder.h"

namespace pare::gpu::cuda {

cudaError_t launch(const EncoderOp& op, const Launch& launch) {
  return op.src.type == DType::kFloat16 ? launch_encoder_f16(op, launch)
                                        : launch_encoder_bf16(op, launch);
}

}  // namespace pare::gpu::cuda
