#include "gpu/cuda/product/group.cuh"

namespace pare::gpu::cuda {

cudaError_t launch_group_f16(const ProductOp& op, const GroupPlan& plan, const Launch& launch) {
  return launch_group<__half, float>(op, plan, launch);
}

}  // namespace pare::gpu::cuda
