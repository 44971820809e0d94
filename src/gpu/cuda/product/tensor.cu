// Which tile a product on tensor cores takes, and into how many parts its k is cut.
#include "gpu/cuda/launch.cuh"
#include "gpu/cuda/product/variants.h"

namespace pare::gpu::cuda {
namespace {

int tiles_of(const ProductOp& op, const TensorTile& tile) {
  return blocks_for(op.m, tile.m) * blocks_for(op.n, tile.n) * op.groups;
}

// The least piece that launch_typed() has a kernel for.
int smallest_grain(DType type) {
  return type == DType::kUInt8 ? 4 : (type == DType::kFloat32 ? 16 : 8);
}

}  // namespace

int tensor_grain(const ProductOp& op) {
  const int64_t bytes = dtype_bits(op.src.type) / 8;
  for (const int g : {16, 8, 4}) {
    if (g < smallest_grain(op.src.type)) break;
    if (op.in_c * bytes % g == 0 && op.pixel_stride * bytes % g == 0 &&
        op.image_stride * bytes % g == 0 && op.src.offset % g == 0) {
      return g >= 16 ? 16 : smallest_grain(op.src.type);
    }
  }
  return 0;
}

bool takes_tensor(const ProductOp& op) { return op.k > 0 && tensor_grain(op) != 0; }

TensorPlan plan_tensor(const ProductOp& op, const Processors& device) {
  TensorPlan plan;
  const bool pieces = tensor_grain(op) < 16;
  plan.tile = pieces ? 2 : 3;
  for (int t = pieces ? 1 : 0; t < (pieces ? 3 : 4); ++t) {
    const TensorTile& tile = kTensorTiles[t];
    // No larger than the problem, and one for each processor.
    const bool fits = op.m > tile.m / 2 && (op.n > tile.n / 2 || tile.n == 64);
    if (fits && tiles_of(op, tile) >= device.processors) {
      plan.tile = t;
      break;
    }
    if (t == 2 && op.m > 32) plan.tile = 2;
  }
  const int tiles = tiles_of(op, kTensorTiles[plan.tile]);
  const int depth = kRowBytes * 8 / dtype_bits(op.src.type);
  const int steps = blocks_for(op.k, depth);
  if (op.groups == 1 && tiles < device.processors && steps >= 4) {
    plan.splits = 2 * device.processors / tiles;
    if (plan.splits > steps / 2) plan.splits = steps / 2;
    if (plan.splits > 16) plan.splits = 16;
    if (plan.splits < 1) plan.splits = 1;
  }
  return plan;
}

size_t tensor_workspace_bytes(const ProductOp& op, const TensorPlan& plan) {
  if (plan.splits <= 1) return 0;
  const TensorTile& tile = kTensorTiles[plan.tile];
  const size_t tiles = static_cast<size_t>(tiles_of(op, tile));
  return (tiles + 63) / 64 * 256 + tiles * plan.splits * tile.m * tile.n * 4;
}

cudaError_t launch_tensor(const ProductOp& op, const TensorPlan& plan, const Launch& launch) {
  switch (op.src.type) {
    case DType::kFloat32:
      return launch_tensor_tf32(op, plan, launch);
    case DType::kFloat16:
      return launch_tensor_f16(op, plan, launch);
    case DType::kBFloat16:
      return launch_tensor_bf16(op, plan, launch);
    case DType::kUInt8:
      return launch_tensor_u8(op, plan, launch);
    default:
      return cudaErrorNotSupported;
  }
}

}  // namespace pare::gpu::cuda
