// Dense layers of few rows: a warp an output channel, sixteen bytes of weights a lane and step.
// The first weights are asked for before the launch that writes the source is over.
#include "gpu/cuda/common.cuh"
#include "gpu/cuda/launch.cuh"
#include "gpu/cuda/product/variants.h"

namespace pare::gpu::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kUnroll = 8;

__device__ __forceinline__ uint4 streamed(const void* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}

// acc += the products of sixteen bytes.
__device__ __forceinline__ void add(float& acc, uint4 w, uint4 x, const float*) {
  const float* a = reinterpret_cast<const float*>(&w);
  const float* b = reinterpret_cast<const float*>(&x);
  for (int i = 0; i < 4; ++i) acc = fmaf(a[i], b[i], acc);
}
__device__ __forceinline__ void add(float& acc, uint4 w, uint4 x, const __half*) {
  const __half2* a = reinterpret_cast<const __half2*>(&w);
  const __half2* b = reinterpret_cast<const __half2*>(&x);
  for (int i = 0; i < 4; ++i) {
    const float2 p = __half22float2(a[i]);
    const float2 q = __half22float2(b[i]);
    acc = fmaf(p.x, q.x, acc);
    acc = fmaf(p.y, q.y, acc);
  }
}
__device__ __forceinline__ void add(float& acc, uint4 w, uint4 x, const __nv_bfloat16*) {
  const __nv_bfloat162* a = reinterpret_cast<const __nv_bfloat162*>(&w);
  const __nv_bfloat162* b = reinterpret_cast<const __nv_bfloat162*>(&x);
  for (int i = 0; i < 4; ++i) {
    const float2 p = __bfloat1622float2(a[i]);
    const float2 q = __bfloat1622float2(b[i]);
    acc = fmaf(p.x, q.x, acc);
    acc = fmaf(p.y, q.y, acc);
  }
}
__device__ __forceinline__ void add(int& acc, uint4 w, uint4 x, const uint8_t*) {
  asm("dp4a.s32.u32 %0, %1, %2, %0;" : "+r"(acc) : "r"(w.x), "r"(x.x));
  asm("dp4a.s32.u32 %0, %1, %2, %0;" : "+r"(acc) : "r"(w.y), "r"(x.y));
  asm("dp4a.s32.u32 %0, %1, %2, %0;" : "+r"(acc) : "r"(w.z), "r"(x.z));
  asm("dp4a.s32.u32 %0, %1, %2, %0;" : "+r"(acc) : "r"(w.w), "r"(x.w));
}

template <typename T, typename Acc, int M>
__global__ void __launch_bounds__(kWarps * 32)
    few_rows_kernel(const __grid_constant__ ProductOp op) {
  constexpr int kVector = 16 / sizeof(T);
  const int lane = threadIdx.x % 32;
  const int n = blockIdx.x * kWarps + threadIdx.x / 32;
  const bool inside = n < op.n;
  const T* weights =
      address<const T>(op.weights) + static_cast<int64_t>(inside ? n : 0) * op.weights_stride;
  const T* src = address<const T>(op.src);
  const int vectors = op.k / kVector;
  uint4 w[kUnroll];
  for (int u = 0; u < kUnroll; ++u) {
    const int at = u * 32 + lane;
    if (at < vectors) w[u] = streamed(weights + at * kVector);
  }
  wait_for_previous();
  let_next_begin();
  Acc acc[M] = {};
  for (int v0 = 0; v0 < vectors; v0 += kUnroll * 32) {
    if (v0 > 0) {
      for (int u = 0; u < kUnroll; ++u) {
        const int at = v0 + u * 32 + lane;
        if (at < vectors) w[u] = streamed(weights + at * kVector);
      }
    }
    for (int u = 0; u < kUnroll; ++u) {
      const int at = v0 + u * 32 + lane;
      if (at >= vectors) continue;
      for (int m = 0; m < M; ++m) {
        if (m >= op.m) continue;
        const uint4 x = *reinterpret_cast<const uint4*>(src + m * op.image_stride + at * kVector);
        add(acc[m], w[u], x, static_cast<const T*>(nullptr));
      }
    }
  }
  for (int m = 0; m < M; ++m) acc[m] = warp_sum(acc[m]);
  for (int m = 0; m < M; ++m) {
    if (inside && lane == m && m < op.m) finish(op, m, n, acc[m]);
  }
}

template <typename T, typename Acc>
cudaError_t launch_typed(const ProductOp& op, const Launch& launch) {
  auto kernel = few_rows_kernel<T, Acc, 8>;
  if (op.m == 1) {
    kernel = few_rows_kernel<T, Acc, 1>;
  } else if (op.m <= 4) {
    kernel = few_rows_kernel<T, Acc, 4>;
  }
  return start(launch, kernel, blocks_for(op.n, kWarps), kWarps * 32, 0, op);
}

}  // namespace

bool takes_few_rows(const ProductOp& op) {
  const int64_t bytes = dtype_bits(op.src.type) / 8;
  return op.m <= 8 && op.groups == 1 && op.in_h * op.in_w == 1 && op.k * bytes % 16 == 0 &&
         op.image_stride * bytes % 16 == 0 && op.src.offset % 16 == 0;
}

cudaError_t launch_few_rows(const ProductOp& op, const Launch& launch) {
  switch (op.src.type) {
    case DType::kFloat32:
      return launch_typed<float, float>(op, launch);
    case DType::kFloat16:
      return launch_typed<__half, float>(op, launch);
    case DType::kBFloat16:
      return launch_typed<__nv_bfloat16, float>(op, launch);
    case DType::kUInt8:
      return launch_typed<uint8_t, int>(op, launch);
    default:
      return cudaErrorNotSupported;
  }
}

}  // namespace pare::gpu::cuda
