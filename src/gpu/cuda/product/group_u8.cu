#include "gpu/cuda/product/group.cuh"

namespace pare::gpu::cuda {

cudaError_t launch_group_u8(const ProductOp& op, const GroupPlan& plan, const Launch& launch) {
  return launch_group<uint8_t, int>(op, plan, launch);
}

}  // namespace pare::gpu::cuda
