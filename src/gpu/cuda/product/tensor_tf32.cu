#include "gpu/cuda/product/tensor.cuh"

namespace pare::gpu::cuda {

cudaError_t launch_tensor_tf32(const ProductOp& op, const TensorPlan& plan, const Launch& launch) {
  return launch_typed<float, float, 16>(op, plan, launch);
}

}  // namespace pare::gpu::cuda
