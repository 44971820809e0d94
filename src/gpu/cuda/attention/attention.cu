#include "gpu/cuda/attention/variants.h"

namespace pare::gpu::cuda {

cudaError_t launch(const AttentionOp& op, const Launch& launch) {
  return takes_tensor_attention(op) ? launch_tensor_attention(op, launch)
                                    : launch_simple_attention(op, launch);
}

KernelChoice choice(const AttentionOp& op, const Launch&) {
  if (takes_tensor_attention(op)) {
    return {"attention_tensor", "keys, values and a row of scores fit on the chip"};
  }
  return {"attention_simple", "tensor cores take 16-bit floats, heads of 64 and up to 208 keys"};
}

}  // namespace pare::gpu::cuda
