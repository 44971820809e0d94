#include "gpu/cuda/product/tensor.cuh"

namespace pare::gpu::cuda {

cudaError_t launch_tensor_f16(const ProductOp& op, const TensorPlan& plan, const Launch& launch) {
  return launch_typed<__half, float, 8>(op, plan, launch);
}

}  // namespace pare::gpu::cuda
