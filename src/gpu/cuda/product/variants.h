// The kernels for products, and what each takes (product.cu chooses).
#ifndef PARE_GPU_CUDA_PRODUCT_VARIANTS_H_
#define PARE_GPU_CUDA_PRODUCT_VARIANTS_H_

#include "gpu/cuda/kernels.h"

namespace pare::gpu::cuda {

// simple.cu: everything.
cudaError_t launch_simple(const ProductOp& op, const Launch& launch);

// few_rows.cu: dense layers of at most eight rows, each weight read once, straight into registers.
bool takes_few_rows(const ProductOp& op);
cudaError_t launch_few_rows(const ProductOp& op, const Launch& launch);

// tensor.cuh: tensor cores; float32 as TF32. `tile` is an index into kTensorTiles.
struct TensorTile {
  int m;
  int n;
};
inline constexpr TensorTile kTensorTiles[] = {{128, 128}, {128, 64}, {64, 64}, {32, 64}};
inline constexpr int kRowBytes = 128;  // of k that a tile takes at a time
struct TensorPlan {
  int tile = 0;
  int splits = 1;  // of k, whose sums the last block adds up in order
};
bool takes_tensor(const ProductOp& op);
// Bytes that lie together in the source: what one copy may take. 0: too few.
int tensor_grain(const ProductOp& op);
TensorPlan plan_tensor(const ProductOp& op, const Processors& device);
size_t tensor_workspace_bytes(const ProductOp& op, const TensorPlan& plan);
cudaError_t launch_tensor_f16(const ProductOp& op, const TensorPlan& plan, const Launch& launch);
cudaError_t launch_tensor_bf16(const ProductOp& op, const TensorPlan& plan, const Launch& launch);
cudaError_t launch_tensor_tf32(const ProductOp& op, const TensorPlan& plan, const Launch& launch);
cudaError_t launch_tensor_u8(const ProductOp& op, const TensorPlan& plan, const Launch& launch);
cudaError_t launch_tensor(const ProductOp& op, const TensorPlan& plan, const Launch& launch);

// group.cuh: warpgroups of Hopper, where there are tiles of 128 rows for every processor.
struct GroupPlan {
  int width = 64;  // of a tile
  int splits = 1;
};
bool takes_group(const ProductOp& op, const Processors& device);
GroupPlan plan_group(const ProductOp& op, const Processors& device);
size_t group_workspace_bytes(const ProductOp& op, const GroupPlan& plan);
cudaError_t launch_group_f16(const ProductOp& op, const GroupPlan& plan, const Launch& launch);
cudaError_t launch_group_bf16(const ProductOp& op, const GroupPlan& plan, const Launch& launch);
cudaError_t launch_group_u8(const ProductOp& op, const GroupPlan& plan, const Launch& launch);
cudaError_t launch_group(const ProductOp& op, const GroupPlan& plan, const Launch& launch);

}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_PRODUCT_VARIANTS_H_
