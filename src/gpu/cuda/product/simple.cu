// Products of any shape and alignment: 64x64 tiles, one multiply-add after another in the order of
// k. Float32 keeps its full precision here.
#include "gpu/cuda/common.cuh"
#include "gpu/cuda/launch.cuh"
#include "gpu/cuda/product/variants.h"

namespace pare::gpu::cuda {
namespace {

constexpr int kTile = 64;
constexpr int kDepth = 16;
constexpr int kThreads = 256;

template <typename T>
__device__ __forceinline__ T widened(T v) {
  return v;
}
__device__ __forceinline__ float widened(__half v) { return __half2float(v); }
__device__ __forceinline__ float widened(__nv_bfloat16 v) { return __bfloat162float(v); }

// Where the window of output pixel m begins.
struct Pixel {
  int64_t base = 0;
  int y = 0;
  int x = 0;
  bool inside = false;
};

__device__ Pixel pixel_at(const ProductOp& op, int m) {
  Pixel p;
  p.inside = m < op.m;
  if (!p.inside) return p;
  const int area = op.out_h * op.out_w;
  const int image = m / area;
  const int at = m % area;
  p.base = image * op.image_stride;
  p.y = at / op.out_w * op.stride_h - op.pad_top;
  p.x = at % op.out_w * op.stride_w - op.pad_left;
  return p;
}

template <typename S, typename W, typename Acc>
__global__ void __launch_bounds__(kThreads) simple_kernel(const __grid_constant__ ProductOp op) {
  __shared__ Acc a[kDepth][kTile + 4];
  __shared__ Acc b[kDepth][kTile + 4];
  const int group = blockIdx.z;
  const int m0 = blockIdx.x * kTile;
  const int n0 = blockIdx.y * kTile;
  const int k_lane = threadIdx.x % kDepth;
  const int row = threadIdx.x / kDepth;
  const S* src = address<const S>(op.src) + static_cast<int64_t>(group) * op.in_c;
  const W* weights =
      address<const W>(op.weights) + static_cast<int64_t>(group) * op.n * op.weights_stride;
  Pixel pixels[4];
  for (int i = 0; i < 4; ++i) pixels[i] = pixel_at(op, m0 + row + i * 16);
  Acc acc[4][4] = {};
  const int tx = threadIdx.x % 16;
  const int ty = threadIdx.x / 16;
  wait_for_previous();
  let_next_begin();
  for (int k0 = 0; k0 < op.k; k0 += kDepth) {
    const int k = k0 + k_lane;
    const int c = k % op.in_c;
    const int window = k / op.in_c;
    const int dy = window / op.kernel_w * op.dilation_h;
    const int dx = window % op.kernel_w * op.dilation_w;
    for (int i = 0; i < 4; ++i) {
      Acc v = 0;
      const int y = pixels[i].y + dy;
      const int x = pixels[i].x + dx;
      if (k < op.k && pixels[i].inside) {
        if (y >= 0 && y < op.in_h && x >= 0 && x < op.in_w) {
          const int64_t at = (static_cast<int64_t>(y) * op.in_w + x) * op.pixel_stride + c;
          v = widened(src[pixels[i].base + at]);
        } else {
          v = static_cast<Acc>(op.pad_value);
        }
      }
      a[k_lane][row + i * 16] = v;
      const int n = n0 + row + i * 16;
      b[k_lane][row + i * 16] =
          k < op.k && n < op.n
              ? static_cast<Acc>(widened(weights[static_cast<int64_t>(n) * op.weights_stride + k]))
              : static_cast<Acc>(0);
    }
    __syncthreads();
    for (int kk = 0; kk < kDepth; ++kk) {
      for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) acc[i][j] += a[kk][ty * 4 + i] * b[kk][tx * 4 + j];
      }
    }
    __syncthreads();
  }
  for (int i = 0; i < 4; ++i) {
    const int m = m0 + ty * 4 + i;
    for (int j = 0; j < 4; ++j) {
      const int n = n0 + tx * 4 + j;
      if (m < op.m && n < op.n) finish(op, m, group * op.n + n, acc[i][j]);
    }
  }
}

}  // namespace

cudaError_t launch_simple(const ProductOp& op, const Launch& launch) {
  const dim3 grid(blocks_for(op.m, kTile), blocks_for(op.n, kTile), op.groups);
  switch (op.src.type) {
    case DType::kFloat32:
      return start(launch, simple_kernel<float, float, float>, grid, kThreads, 0, op);
    case DType::kFloat16:
      return start(launch, simple_kernel<__half, __half, float>, grid, kThreads, 0, op);
    case DType::kBFloat16:
      return start(launch, simple_kernel<__nv_bfloat16, __nv_bfloat16, float>, grid, kThreads, 0,
                   op);
    case DType::kUInt8:
      return start(launch, simple_kernel<uint8_t, int8_t, int>, grid, kThreads, 0, op);
    default:
      return cudaErrorNotSupported;
  }
}

}  // namespace pare::gpu::cuda
