#include "gpu/cuda/product/tensor.cuh"

namespace pare::gpu::cuda {

cudaError_t launch_tensor_u8(const ProductOp& op, const TensorPlan& plan, const Launch& launch) {
  return launch_typed<uint8_t, int, 4>(op, plan, launch);
}

}  // namespace pare::gpu::cuda
