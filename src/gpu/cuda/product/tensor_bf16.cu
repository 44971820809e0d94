#include "gpu/cuda/product/tensor.cuh"

namespace pare::gpu::cuda {

cudaError_t launch_tensor_bf16(const ProductOp& op, const TensorPlan& plan, const Launch& launch) {
  return launch_typed<__nv_bfloat16, float, 8>(op, plan, launch);
}

}  // namespace pare::gpu::cuda
