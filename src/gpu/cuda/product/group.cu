// When warpgroups multiply, how wide their tiles are, and into how many parts k is cut.
#include <algorithm>

#include "gpu/cuda/launch.cuh"
#include "gpu/cuda/product/variants.h"

namespace pare::gpu::cuda {
namespace {

constexpr int kRows = 128;

}  // namespace

// The widest tile that wastes nothing and leaves one for each processor; where there are fewer
// tiles than processors, narrow ones whose k is cut.
GroupPlan plan_group(const ProductOp& op, const Processors& device) {
  GroupPlan plan;
  const int rows = blocks_for(op.m, kRows) * op.groups;
  for (const int width : {256, 192, 128}) {
    if (op.n % width == 0 && rows * (op.n / width) >= device.processors) {
      plan.width = width;
      return plan;
    }
  }
  plan.width = op.n > 64 ? 128 : 64;
  const int tiles = rows * blocks_for(op.n, plan.width);
  const int steps = blocks_for(op.k, kRowBytes * 8 / dtype_bits(op.src.type));
  if (op.groups == 1 && tiles * 4 < device.processors * 3) {
    plan.splits = std::clamp(std::min(device.processors / tiles, steps / 4), 1, 8);
  }
  return plan;
}

bool takes_group(const ProductOp& op, const Processors& device) {
  // The instructions exist on sm_90 alone.
  if (device.capability != 90 || op.src.type == DType::kFloat32) return false;
  if (op.k == 0 || tensor_grain(op) != 16) return false;
  const GroupPlan plan = plan_group(op, device);
  const int blocks =
      blocks_for(op.m, kRows) * blocks_for(op.n, plan.width) * op.groups * plan.splits;
  // With fewer rows than this half of a tile's would be for nothing.
  return op.m >= 4 * kRows && blocks * 2 >= device.processors;
}

size_t group_workspace_bytes(const ProductOp& op, const GroupPlan& plan) {
  if (plan.splits <= 1) return 0;
  const auto tiles = static_cast<size_t>(blocks_for(op.m, kRows)) * blocks_for(op.n, plan.width);
  return (tiles + 63) / 64 * 256 + tiles * plan.splits * kRows * plan.width * 4;
}

cudaError_t launch_group(const ProductOp& op, const GroupPlan& plan, const Launch& launch) {
  switch (op.src.type) {
    case DType::kFloat16:
      return launch_group_f16(op, plan, launch);
    case DType::kBFloat16:
      return launch_group_bf16(op, plan, launch);
    case DType::kUInt8:
      return launch_group_u8(op, plan, launch);
    default:
      return cudaErrorNotSupported;
  }
}

}  // namespace pare::gpu::cuda
