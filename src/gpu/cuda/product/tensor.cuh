// Implicit products on tensor cores (mma.sync), for convolutions and dense layers of any float type
// (float32 as TF32) and for bytes.
//
// A block computes a tile of m x n. Rows of 128 bytes of k of source and weights come into shared
// memory by cp.async, several stages ahead; sixteen-byte pieces are swizzled so that ldmatrix reads
// without conflicts. All types are seen as 32-bit words: a step of 32 bytes of k is one
// mma.m16n8k16 (16 bits), k8 (TF32) or k32 (8 bits), with the same fragments.
#ifndef PARE_GPU_CUDA_PRODUCT_TENSOR_CUH_
#define PARE_GPU_CUDA_PRODUCT_TENSOR_CUH_

#include "gpu/cuda/product/tile.cuh"

namespace pare::gpu::cuda {
namespace {

// TF32 keeps ten bits of the mantissa: rounded to nearest, not cut.
__device__ __forceinline__ void round_factors(uint32_t (&r)[4], const float*) {
  for (uint32_t& v : r) {
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(v) : "f"(__uint_as_float(v)));
  }
}
template <typename T>
__device__ __forceinline__ void round_factors(uint32_t (&)[4], const T*) {}

template <int BM, int BN, int WarpsM, int WarpsN>
struct Tile {
  static constexpr int kM = BM;
  static constexpr int kN = BN;
  static constexpr int kWarpsM = WarpsM;
  static constexpr int kThreads = WarpsM * WarpsN * 32;
  static constexpr int kStages = 4;
  static constexpr int kStageBytes = (BM + BN) * kRowBytes;
  static constexpr int kWarpM = BM / WarpsM;
  static constexpr int kWarpN = BN / WarpsN;
  static constexpr int kFragM = kWarpM / 16;
  static constexpr int kFragN = kWarpN / 8;
};

// grid: tiles of m, tiles of n, splits (one group) or groups (no splits).
template <typename T, typename Acc, typename Tl, int Grain>
__global__ void __launch_bounds__(Tl::kThreads)
    tensor_kernel(const __grid_constant__ ProductOp op, int splits, void* workspace) {
  extern __shared__ __align__(1024) unsigned char shared[];
  constexpr int kDepth = kRowBytes / sizeof(T);
  const uint32_t base = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int m0 = blockIdx.x * Tl::kM;
  const int n0 = blockIdx.y * Tl::kN;
  const int group = splits > 1 ? 0 : blockIdx.z;
  const int steps = (op.k + kDepth - 1) / kDepth;
  const int split = splits > 1 ? blockIdx.z : 0;
  const int begin = static_cast<int>(static_cast<int64_t>(steps) * split / splits);
  const int end = static_cast<int>(static_cast<int64_t>(steps) * (split + 1) / splits);
  const T* weights =
      address<const T>(op.weights) + static_cast<int64_t>(group) * op.n * op.weights_stride;
  SourceRows<T, Tl, Grain> rows(op, m0, group, begin * kDepth);
  const auto tile_a = [&](int stage) { return base + stage * Tl::kStageBytes; };
  const auto fetch_b = [&](int step) {
    const int stage = (step - begin) % Tl::kStages;
    fetch_weights<T, Tl>(op, weights, n0, step * kDepth, tile_a(stage) + Tl::kM * kRowBytes);
  };
  const auto fetch_a = [&](int step) {
    const int stage = (step - begin) % Tl::kStages;
    rows.fetch(op, tile_a(stage), shared + stage * Tl::kStageBytes);
  };
  // Weights depend on nobody: they are asked for before the previous launch is over.
  for (int s = 0; s < Tl::kStages - 1; ++s) {
    if (begin + s < end) fetch_b(begin + s);
  }
  wait_for_previous();
  let_next_begin();
  for (int s = 0; s < Tl::kStages - 1; ++s) {
    if (begin + s < end) fetch_a(begin + s);
    commit();
  }
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int warp_m = warp % Tl::kWarpsM * Tl::kWarpM;
  const int warp_n = warp / Tl::kWarpsM * Tl::kWarpN;
  Acc acc[Tl::kFragM][Tl::kFragN][4] = {};
  for (int step = begin; step < end; ++step) {
    wait_group<Tl::kStages - 2>();
    __syncthreads();
    const int ahead = step + Tl::kStages - 1;
    if (ahead < end) {
      fetch_b(ahead);
      fetch_a(ahead);
    }
    commit();
    const uint32_t a_tile = tile_a((step - begin) % Tl::kStages);
    const uint32_t b_tile = a_tile + Tl::kM * kRowBytes;
#pragma unroll
    for (int kk = 0; kk < kRowBytes / 32; ++kk) {
      uint32_t a[Tl::kFragM][4];
#pragma unroll
      for (int i = 0; i < Tl::kFragM; ++i) {
        load_matrices(a[i], a_tile + swizzled(warp_m + i * 16 + lane % 16, kk * 2 + lane / 16));
        round_factors(a[i], static_cast<const T*>(nullptr));
      }
#pragma unroll
      for (int j = 0; j < Tl::kFragN; j += 2) {
        uint32_t b[4];
        load_matrices(
            b, b_tile + swizzled(warp_n + j * 8 + lane % 8 + lane / 16 * 8, kk * 2 + lane / 8 % 2));
        round_factors(b, static_cast<const T*>(nullptr));
#pragma unroll
        for (int i = 0; i < Tl::kFragM; ++i) {
          multiply(acc[i][j], a[i], b[0], b[1], static_cast<const T*>(nullptr));
          multiply(acc[i][j + 1], a[i], b[2], b[3], static_cast<const T*>(nullptr));
        }
      }
    }
  }
  constexpr int kSums = Tl::kFragM * Tl::kFragN * 4;
  if (splits > 1 && !gather_splits<Acc, kSums, Tl::kThreads>(reinterpret_cast<Acc(&)[kSums]>(acc),
                                                             workspace, splits)) {
    return;
  }
  constexpr int kStride = Tl::kN + 8;
  static_assert(Tl::kM * kStride * sizeof(Acc) <= Tl::kStages * Tl::kStageBytes);
  wait_group<0>();
  __syncthreads();
  Acc* sums = reinterpret_cast<Acc*>(shared);
#pragma unroll
  for (int i = 0; i < Tl::kFragM; ++i) {
#pragma unroll
    for (int j = 0; j < Tl::kFragN; ++j) {
      Acc* to = sums + (warp_m + i * 16 + lane / 4) * kStride + warp_n + j * 8 + lane % 4 * 2;
      to[0] = acc[i][j][0];
      to[1] = acc[i][j][1];
      to[8 * kStride] = acc[i][j][2];
      to[8 * kStride + 1] = acc[i][j][3];
    }
  }
  __syncthreads();
  finish_tile<Acc, Tl>(op, sums, kStride, m0, n0, group);
}

using Tile128x128 = Tile<128, 128, 2, 4>;
using Tile128x64 = Tile<128, 64, 4, 2>;
using Tile64x64 = Tile<64, 64, 2, 2>;
using Tile32x64 = Tile<32, 64, 2, 2>;

template <typename T, typename Acc, typename Tl, int Grain>
cudaError_t launch_grain(const ProductOp& op, const TensorPlan& plan, const Launch& launch) {
  const dim3 grid(blocks_for(op.m, Tl::kM), blocks_for(op.n, Tl::kN),
                  plan.splits > 1 ? plan.splits : op.groups);
  return start(launch, tensor_kernel<T, Acc, Tl, Grain>, grid, Tl::kThreads,
               Tl::kStages * Tl::kStageBytes, op, plan.splits, launch.workspace);
}

// Pieces of less than sixteen bytes are those of a picture's pixels: few channels in, few out.
template <typename T, typename Acc, int Small>
cudaError_t launch_typed(const ProductOp& op, const TensorPlan& plan, const Launch& launch) {
  if (tensor_grain(op) < 16) {
    if constexpr (Small < 16) {
      return plan.tile <= 1 ? launch_grain<T, Acc, Tile128x64, Small>(op, plan, launch)
                            : launch_grain<T, Acc, Tile64x64, Small>(op, plan, launch);
    }
    return cudaErrorNotSupported;
  }
  switch (plan.tile) {
    case 0:
      return launch_grain<T, Acc, Tile128x128, 16>(op, plan, launch);
    case 1:
      return launch_grain<T, Acc, Tile128x64, 16>(op, plan, launch);
    case 2:
      return launch_grain<T, Acc, Tile64x64, 16>(op, plan, launch);
    default:
      return launch_grain<T, Acc, Tile32x64, 16>(op, plan, launch);
  }
}

}  // namespace
}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_PRODUCT_TENSOR_CUH_
