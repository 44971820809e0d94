// Products by warpgroups (wgmma, sm_90a): the kernel for many rows on Hopper.
//
// Two warpgroups compute 64 rows each of a tile of 128 x kN. Source and weights come by cp.async,
// as in tensor.cuh; the tensor cores read them from shared memory by themselves while the threads
// already fetch what comes two stages later.
#ifndef PARE_GPU_CUDA_PRODUCT_GROUP_CUH_
#define PARE_GPU_CUDA_PRODUCT_GROUP_CUH_

#include "gpu/cuda/product/tile.cuh"
#include "gpu/cuda/warpgroup.cuh"

namespace pare::gpu::cuda {
namespace {

template <int BN, int Stages, int Resident>
struct GroupTile {
  static constexpr int kM = 128;
  static constexpr int kN = BN;
  static constexpr int kThreads = 256;
  static constexpr int kStages = Stages;
  static constexpr int kResident = Resident;  // blocks a processor
  static constexpr int kStageBytes = (kM + kN) * kRowBytes;
};

// grid: tiles of m, tiles of n, splits of k (one group) or groups (no splits).
template <typename T, typename Acc, typename Tl>
__global__ void __launch_bounds__(Tl::kThreads, Tl::kResident)
    group_kernel(const __grid_constant__ ProductOp op, int splits, void* workspace) {
#if defined(PARE_WARPGROUPS)
  extern __shared__ __align__(1024) unsigned char shared[];
  constexpr int kDepth = kRowBytes / sizeof(T);
  constexpr int kAhead = Tl::kStages - 2;
  const T* type = nullptr;
  const uint32_t base = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int m0 = blockIdx.x * Tl::kM;
  const int n0 = blockIdx.y * Tl::kN;
  const int group = splits > 1 ? 0 : blockIdx.z;
  const int all = (op.k + kDepth - 1) / kDepth;
  const int split = splits > 1 ? blockIdx.z : 0;
  const int begin = static_cast<int>(static_cast<int64_t>(all) * split / splits);
  const int steps = static_cast<int>(static_cast<int64_t>(all) * (split + 1) / splits) - begin;
  const T* weights =
      address<const T>(op.weights) + static_cast<int64_t>(group) * op.n * op.weights_stride;
  SourceRows<T, Tl, 16> rows(op, m0, group, begin * kDepth);
  const auto stage_of = [&](int step) { return step % Tl::kStages * Tl::kStageBytes; };
  const auto fetch_b = [&](int step) {
    fetch_weights<T, Tl>(op, weights, n0, (begin + step) * kDepth,
                         base + stage_of(step) + Tl::kM * kRowBytes);
  };
  for (int s = 0; s < kAhead; ++s) {
    if (s < steps) fetch_b(s);
  }
  wait_for_previous();
  let_next_begin();
  for (int s = 0; s < kAhead; ++s) {
    if (s < steps) rows.fetch(op, base + stage_of(s), shared + stage_of(s));
    commit();
  }
  Acc acc[Tl::kN / 2];
#pragma unroll
  for (int i = 0; i < Tl::kN / 2; ++i) acc[i] = 0;
  const int warpgroup = threadIdx.x / 128;
  for (int step = 0; step < steps; ++step) {
    wait_group<kAhead - 1>();
    show_to_products();
    __syncthreads();
    const uint32_t tile = base + stage_of(step);
    const uint64_t a = matrix_at(tile + warpgroup * 64 * kRowBytes);
    const uint64_t b = matrix_at(tile + Tl::kM * kRowBytes);
    begin_products();
#pragma unroll
    for (int k = 0; k < kRowBytes / 32; ++k) multiply(acc, a + k * 2, b + k * 2, type);
    commit_products();
    // Everybody's products of the step before last are over: their stage is free.
    const int ahead = step + kAhead;
    if (ahead < steps) {
      fetch_b(ahead);
      rows.fetch(op, base + stage_of(ahead), shared + stage_of(ahead));
    }
    commit();
    wait_products<1>();
  }
  wait_products<0>();
  wait_group<0>();
  if (splits > 1 && !gather_splits<Acc, Tl::kN / 2, Tl::kThreads>(acc, workspace, splits)) return;
  __syncthreads();
  constexpr int kStride = Tl::kN + 8;
  static_assert(Tl::kM * kStride * sizeof(Acc) <= Tl::kStages * Tl::kStageBytes);
  Acc* sums = reinterpret_cast<Acc*>(shared);
  const int lane = threadIdx.x % 32;
  Acc* own = sums + (threadIdx.x / 32 * 16 + lane / 4) * kStride + lane % 4 * 2;
#pragma unroll
  for (int n = 0; n < Tl::kN / 8; ++n) {
    own[n * 8] = acc[n * 4];
    own[n * 8 + 1] = acc[n * 4 + 1];
    own[8 * kStride + n * 8] = acc[n * 4 + 2];
    own[8 * kStride + n * 8 + 1] = acc[n * 4 + 3];
  }
  __syncthreads();
  finish_tile<Acc, Tl>(op, sums, kStride, m0, n0, group);
#endif
}

template <typename T, typename Acc, typename Tl>
cudaError_t launch_tile(const ProductOp& op, int splits, const Launch& launch) {
  const dim3 grid(blocks_for(op.m, Tl::kM), blocks_for(op.n, Tl::kN),
                  splits > 1 ? splits : op.groups);
  return start(launch, group_kernel<T, Acc, Tl>, grid, Tl::kThreads, Tl::kStages * Tl::kStageBytes,
               op, splits, launch.workspace);
}

template <typename T, typename Acc>
cudaError_t launch_group(const ProductOp& op, const GroupPlan& plan, const Launch& launch) {
  switch (plan.width) {
    case 64:
      return launch_tile<T, Acc, GroupTile<64, 4, 2>>(op, plan.splits, launch);
    case 128:
      return launch_tile<T, Acc, GroupTile<128, 3, 2>>(op, plan.splits, launch);
    case 192:
      return launch_tile<T, Acc, GroupTile<192, 4, 1>>(op, plan.splits, launch);
    default:
      return launch_tile<T, Acc, GroupTile<256, 4, 1>>(op, plan.splits, launch);
  }
}

}  // namespace
}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_PRODUCT_GROUP_CUH_
