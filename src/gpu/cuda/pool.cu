// Pooling over channels-last activations, sixteen bytes of channels a thread where they allow it.
#include "gpu/cuda/common.cuh"
#include "gpu/cuda/launch.cuh"

namespace pare::gpu::cuda {
namespace {

constexpr int kThreads = 256;

template <typename T>
__device__ __forceinline__ float as_float(T v) {
  return static_cast<float>(v);
}
template <>
__device__ __forceinline__ float as_float(__half v) {
  return __half2float(v);
}
template <>
__device__ __forceinline__ float as_float(__nv_bfloat16 v) {
  return __bfloat162float(v);
}
template <typename T>
__device__ __forceinline__ T exact(float v) {
  return from_float<T>(v);
}
template <>
__device__ __forceinline__ uint8_t exact<uint8_t>(float v) {
  return static_cast<uint8_t>(v);
}

// V channels of one output pixel.
template <typename T, int V>
__global__ void pool_kernel(const __grid_constant__ PoolOp op) {
  wait_for_previous();
  let_next_begin();
  const int vectors = op.channels / V;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t pixels = static_cast<int64_t>(op.batch) * op.out_h * op.out_w;
  if (i >= pixels * vectors) return;
  const int c = static_cast<int>(i % vectors) * V;
  const int64_t pixel = i / vectors;
  const int ox = static_cast<int>(pixel % op.out_w);
  const int oy = static_cast<int>(pixel / op.out_w % op.out_h);
  const int64_t image = pixel / op.out_w / op.out_h;
  const T* src = address<const T>(op.src) + image * op.in_h * op.in_w * op.channels + c;
  float r[V];
  for (int k = 0; k < V; ++k) r[k] = op.mean != 0 ? 0.0F : -INFINITY;
  int inside = 0;
  int padded = 0;
  for (int ky = 0; ky < op.kernel_h; ++ky) {
    const int y = oy * op.stride_h - op.pad_top + ky * op.dilation_h;
    for (int kx = 0; kx < op.kernel_w; ++kx) {
      const int x = ox * op.stride_w - op.pad_left + kx * op.dilation_w;
      if (y < op.in_h + op.pad_bottom && x < op.in_w + op.pad_right) ++padded;
      if (y < 0 || y >= op.in_h || x < 0 || x >= op.in_w) continue;
      ++inside;
      const T* at = src + (static_cast<int64_t>(y) * op.in_w + x) * op.channels;
      T values[V];
      if constexpr (V * sizeof(T) == 16) {
        *reinterpret_cast<uint4*>(values) = *reinterpret_cast<const uint4*>(at);
      } else {
        for (int k = 0; k < V; ++k) values[k] = at[k];
      }
      for (int k = 0; k < V; ++k) {
        const float v = as_float(values[k]);
        r[k] = op.mean != 0 ? r[k] + v : fmaxf(r[k], v);
      }
    }
  }
  const float count = static_cast<float>(op.count_include_pad != 0 ? padded : inside);
  T out[V];
  for (int k = 0; k < V; ++k) {
    // A window that lies outside the image altogether has a mean of 0.
    out[k] = exact<T>(op.mean == 0 ? r[k] : (count > 0.0F ? __fdiv_rn(r[k], count) : 0.0F));
  }
  T* dst = address<T>(op.dst) + pixel * op.channels + c;
  if constexpr (V * sizeof(T) == 16) {
    *reinterpret_cast<uint4*>(dst) = *reinterpret_cast<const uint4*>(out);
  } else {
    for (int k = 0; k < V; ++k) dst[k] = out[k];
  }
}

template <typename T>
cudaError_t launch_typed(const PoolOp& op, const Launch& launch) {
  constexpr int kVector = 16 / sizeof(T);
  const int64_t elements = static_cast<int64_t>(op.batch) * op.out_h * op.out_w * op.channels;
  if (op.channels % kVector == 0) {
    return start(launch, pool_kernel<T, kVector>, blocks_for(elements / kVector, kThreads),
                 kThreads, 0, op);
  }
  return start(launch, pool_kernel<T, 1>, blocks_for(elements, kThreads), kThreads, 0, op);
}

}  // namespace

cudaError_t launch(const PoolOp& op, const Launch& launch) {
  switch (op.src.type) {
    case DType::kFloat32:
      return launch_typed<float>(op, launch);
    case DType::kFloat16:
      return launch_typed<__half>(op, launch);
    case DType::kBFloat16:
      return launch_typed<__nv_bfloat16>(op, launch);
    case DType::kUInt8:
      return launch_typed<uint8_t>(op, launch);
    default:
      return cudaErrorNotSupported;
  }
}

}  // namespace pare::gpu::cuda
