// What the tensor-core kernels of products share: how rows of source and weights come into shared
// memory, and how the sums of a tile go through the epilogue.
//
// Tl describes a tile: kM x kN, computed by kThreads threads.
#ifndef PARE_GPU_CUDA_PRODUCT_TILE_CUH_
#define PARE_GPU_CUDA_PRODUCT_TILE_CUH_

#include "gpu/cuda/common.cuh"
#include "gpu/cuda/launch.cuh"
#include "gpu/cuda/product/variants.h"
#include "gpu/cuda/tensor_core.cuh"

namespace pare::gpu::cuda {
namespace {

// The rows of the source tile that a thread fetches: one piece of each of them.
template <typename T, typename Tl, int Grain>
struct SourceRows {
  static constexpr int kPieces = kRowBytes / Grain;  // of a row
  static constexpr int kStep = Tl::kThreads / kPieces;
  static constexpr int kRows = Tl::kM / kStep;
  static constexpr int kVector = Grain / sizeof(T);

  const T* base[kRows];
  int y[kRows];  // of the window's first row; far outside for rows beyond m
  int x[kRows];
  int piece;
  int first;
  // Of this thread's next piece.
  int c;
  int kx;
  int ky;
  int k;

  __device__ SourceRows(const ProductOp& op, int m0, int group, int k_begin) {
    piece = threadIdx.x % kPieces;
    first = threadIdx.x / kPieces;
    const int area = op.out_h * op.out_w;
    for (int i = 0; i < kRows; ++i) {
      const int m = m0 + first + i * kStep;
      const int image = m / area;
      const int at = m % area;
      base[i] = address<const T>(op.src) + image * op.image_stride + group * op.in_c;
      y[i] = m < op.m ? at / op.out_w * op.stride_h - op.pad_top : -(1 << 20);
      x[i] = at % op.out_w * op.stride_w - op.pad_left;
    }
    k = k_begin + piece * kVector;
    c = k % op.in_c;
    const int window = k / op.in_c;
    kx = window % op.kernel_w;
    ky = window / op.kernel_w;
  }

  __device__ void fetch(const ProductOp& op, uint32_t tile, unsigned char* tile_bytes) {
    const int dy = ky * op.dilation_h;
    const int dx = kx * op.dilation_w;
    for (int i = 0; i < kRows; ++i) {
      const int at_y = y[i] + dy;
      const int at_x = x[i] + dx;
      const bool in_image = static_cast<unsigned>(at_y) < static_cast<unsigned>(op.in_h) &&
                            static_cast<unsigned>(at_x) < static_cast<unsigned>(op.in_w);
      const bool valid = k < op.k && in_image;
      const int row = first + i * kStep;
      const uint32_t to = swizzled(row, piece * Grain / 16) + piece * Grain % 16;
      const T* from =
          valid ? base[i] + static_cast<int64_t>(at_y * op.in_w + at_x) * op.pixel_stride + c
                : address<const T>(op.src);
      if (sizeof(T) == 1 && op.pad_value != 0 && !in_image && k < op.k && y[i] > -(1 << 19)) {
        const uint32_t word = static_cast<uint32_t>(op.pad_value) * 0x01010101U;
        for (int b = 0; b < Grain; b += 4) *reinterpret_cast<uint32_t*>(tile_bytes + to + b) = word;
      } else {
        copy_async<Grain, Copy::kCached>(tile + to, from, valid);  // windows overlap
      }
    }
    k += kRowBytes / static_cast<int>(sizeof(T));
    c += kRowBytes / static_cast<int>(sizeof(T));
    while (c >= op.in_c) {
      c -= op.in_c;
      if (++kx == op.kernel_w) {
        kx = 0;
        ++ky;
      }
    }
  }
};

template <typename T, typename Tl>
__device__ __forceinline__ void fetch_weights(const ProductOp& op, const T* weights, int n0, int k0,
                                              uint32_t tile) {
  constexpr int kVector = 16 / sizeof(T);
  const int piece = threadIdx.x % 8;
  const int k = k0 + piece * kVector;
  for (int row = threadIdx.x / 8; row < Tl::kN; row += Tl::kThreads / 8) {
    const int n = n0 + row;
    const bool valid = n < op.n && k < op.weights_stride;
    copy_async<16>(tile + swizzled(row, piece),
                   weights + (valid ? static_cast<int64_t>(n) * op.weights_stride + k : 0), valid);
  }
}

// Eight neighbours of one row, n to n + 7 of all channels, into the destination.
template <typename Acc>
__device__ __forceinline__ void finish_eight(const ProductOp& op, int m, int n,
                                             const Acc (&acc)[8]) {
  float v[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) v[i] = start(op, n + i, acc[i]);
  if (op.residual.space != Space::kNone) {
    const int64_t at = residual_row(op, m) + n;
    if (op.residual.type == DType::kFloat32) {
      const float* r = address<const float>(op.residual) + at;
#pragma unroll
      for (int i = 0; i < 8; ++i) v[i] = __fadd_rn(v[i], r[i]);
    } else {
      const uint4 words =
          *reinterpret_cast<const uint4*>(address<const uint16_t>(op.residual) + at);
      const bool half = op.residual.type == DType::kFloat16;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const uint16_t bits = reinterpret_cast<const uint16_t*>(&words)[i];
        v[i] = __fadd_rn(v[i], half ? __half2float(__ushort_as_half(bits))
                                    : __bfloat162float(__ushort_as_bfloat16(bits)));
      }
    }
  }
  const bool sixteen = op.dst.type == DType::kFloat16 || op.dst.type == DType::kBFloat16;
  if (op.activation == Activation::kRelu) {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = v[i] < 0.0F ? 0.0F : v[i];
  } else if (op.activation == Activation::kGelu) {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = sixteen ? short_gelu(v[i]) : gelu(v[i]);
  } else if (op.activation != Activation::kNone) {
#pragma unroll 1
    for (int i = 0; i < 8; ++i) v[i] = activate(op.activation, v[i], op.alpha, op.beta);
  }
  const int64_t at = m * op.dst_stride + n;
  if (op.dst.type == DType::kFloat16) {
    uint4 words;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      reinterpret_cast<__half2*>(&words)[i] = __floats2half2_rn(v[2 * i], v[2 * i + 1]);
    }
    *reinterpret_cast<uint4*>(address<__half>(op.dst) + at) = words;
  } else if (op.dst.type == DType::kBFloat16) {
    uint4 words;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      reinterpret_cast<__nv_bfloat162*>(&words)[i] = __floats2bfloat162_rn(v[2 * i], v[2 * i + 1]);
    }
    *reinterpret_cast<uint4*>(address<__nv_bfloat16>(op.dst) + at) = words;
  } else if (op.dst.type == DType::kUInt8) {
    uint2 words = {};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      reinterpret_cast<uint8_t*>(&words)[i] = static_cast<uint8_t>(quantise(v[i], op.rounding));
    }
    *reinterpret_cast<uint2*>(address<uint8_t>(op.dst) + at) = words;
  } else {
    float* dst = address<float>(op.dst) + at;
#pragma unroll
    for (int i = 0; i < 8; ++i) dst[i] = v[i];
  }
}

// The sums of a tile, laid out in shared memory, through the epilogue, row by row.
template <typename Acc, typename Tl>
__device__ void finish_tile(const ProductOp& op, const Acc* sums, int stride, int m0, int n0,
                            int group) {
  const bool eights = op.dst_stride % 8 == 0 && op.n % 8 == 0 && op.residual_stride % 8 == 0;
  constexpr int kEights = Tl::kN / 8;
#pragma unroll 1
  for (int i = threadIdx.x; i < Tl::kM * kEights; i += Tl::kThreads) {
    const int row = i / kEights;
    const int column = i % kEights * 8;
    const int m = m0 + row;
    if (m >= op.m || n0 + column >= op.n) continue;
    const Acc* from = sums + row * stride + column;
    const int n = group * op.n + n0 + column;
    if (eights) {
      Acc acc[8];
#pragma unroll
      for (int k = 0; k < 8; ++k) acc[k] = from[k];
      finish_eight(op, m, n, acc);
    } else {
#pragma unroll 1
      for (int k = 0; k < 8 && n0 + column + k < op.n; ++k) finish(op, m, n + k, from[k]);
    }
  }
}

// Adds the sums of all splits of k of this tile (blockIdx.z), in order; true for the block that has
// them all. Workspace: a counter for each tile, zero between launches, then every split's sums.
template <typename Acc, int Each, int Threads>
__device__ __forceinline__ bool gather_splits(Acc (&acc)[Each], void* workspace, int splits) {
  __shared__ int arrived;
  const int tiles = gridDim.x * gridDim.y;
  const int tile = blockIdx.y * gridDim.x + blockIdx.x;
  int* counters = static_cast<int*>(workspace);
  constexpr int64_t kPart = static_cast<int64_t>(Each) * Threads;
  Acc* sums = reinterpret_cast<Acc*>(counters + (tiles + 63) / 64 * 64) +
              static_cast<int64_t>(tile) * splits * kPart + threadIdx.x;
  Acc* mine = sums + blockIdx.z * kPart;
#pragma unroll
  for (int i = 0; i < Each; ++i) mine[i * Threads] = acc[i];
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) arrived = atomicAdd(counters + tile, 1);
  __syncthreads();
  if (arrived != splits - 1) return false;
  __threadfence();
  if (threadIdx.x == 0) counters[tile] = 0;
#pragma unroll
  for (int i = 0; i < Each; ++i) acc[i] = 0;
  for (int s = 0; s < splits; ++s) {
#pragma unroll
    for (int i = 0; i < Each; ++i) acc[i] += __ldcg(sums + s * kPart + i * Threads);
  }
  return true;
}

}  // namespace
}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_PRODUCT_TILE_CUH_
