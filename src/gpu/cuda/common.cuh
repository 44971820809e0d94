// What the kernels share: loads, stores, activations, in the order and with the roundings of
// kernels/epilogue.h and base/rounding.h.
#ifndef PARE_GPU_CUDA_COMMON_CUH_
#define PARE_GPU_CUDA_COMMON_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "gpu/program.h"

namespace pare::gpu::cuda {

template <typename T>
__device__ __forceinline__ T* address(const Operand& operand) {
  return reinterpret_cast<T*>(operand.offset);
}

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(__half v) { return __half2float(v); }
__device__ __forceinline__ float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }
template <typename T>
__device__ __forceinline__ T from_float(float v);
template <>
__device__ __forceinline__ float from_float<float>(float v) {
  return v;
}
template <>
__device__ __forceinline__ __half from_float<__half>(float v) {
  return __float2half_rn(v);
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float v) {
  return __float2bfloat16_rn(v);
}

// round_clamp(v / scale, ...), every operation rounded by itself.
__device__ __forceinline__ int quantise(float v, const Rounding& r) {
  const float low = static_cast<float>(r.lo - r.zero_point);
  const float high = static_cast<float>(r.hi - r.zero_point);
  float q = rintf(__fdiv_rn(v, r.scale));
  q = q > low ? q : low;
  q = q < high ? q : high;
  return static_cast<int>(q) + r.zero_point;
}

// Element i of an array, integers as they are.
__device__ __forceinline__ float load_float(DType type, const void* data, int64_t i) {
  switch (type) {
    case DType::kFloat32:
      return static_cast<const float*>(data)[i];
    case DType::kFloat16:
      return __half2float(static_cast<const __half*>(data)[i]);
    case DType::kBFloat16:
      return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[i]);
    case DType::kInt8:
      return static_cast<const int8_t*>(data)[i];
    case DType::kUInt8:
    case DType::kBool:
      return static_cast<const uint8_t*>(data)[i];
    default:
      return 0.0F;
  }
}

__device__ __forceinline__ void store_float(DType type, void* data, int64_t i, float v,
                                            const Rounding& rounding) {
  switch (type) {
    case DType::kFloat16:
      static_cast<__half*>(data)[i] = __float2half_rn(v);
      return;
    case DType::kBFloat16:
      static_cast<__nv_bfloat16*>(data)[i] = __float2bfloat16_rn(v);
      return;
    case DType::kUInt8:
    case DType::kInt8:
      static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(quantise(v, rounding));
      return;
    default:
      static_cast<float*>(data)[i] = v;
      return;
  }
}

__device__ __forceinline__ float gelu(float v) {
  return 0.5F * v * (1.0F + erff(v * 0.707106781F));
}

// The same for results of sixteen bits: erf by formula 7.1.26 of Abramowitz and Stegun, whose error
// is below 1.5e-7, at a third of the instructions.
__device__ __forceinline__ float short_gelu(float v) {
  const float x = fabsf(v) * 0.707106781F;
  const float t = __fdividef(1.0F, fmaf(0.3275911F, x, 1.0F));
  float p = fmaf(1.061405429F, t, -1.453152027F);
  p = fmaf(p, t, 1.421413741F);
  p = fmaf(p, t, -0.284496736F);
  p = fmaf(p, t, 0.254829592F);
  const float erf = 1.0F - p * t * __expf(-x * x);
  return 0.5F * (v + fabsf(v) * erf);
}

// 2^v by the unit for it.
__device__ __forceinline__ float power_of_two(float v) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}

__device__ __forceinline__ float sigmoid(float v) { return 1.0F / (1.0F + __expf(-v)); }

__device__ __forceinline__ float activate(Activation activation, float v, float alpha, float beta) {
  switch (activation) {
    case Activation::kNone:
      return v;
    case Activation::kRelu:
      return v < 0.0F ? 0.0F : v;
    case Activation::kClip:
      return fminf(fmaxf(v, alpha), beta);
    case Activation::kGelu:
      return gelu(v);
    case Activation::kGeluTanh:
      return v / (1.0F + __expf(-v * (2.0F * 0.797884561F + v * v * 2.0F * 0.0356774081F)));
    case Activation::kSigmoid:
      return sigmoid(v);
    case Activation::kTanh:
      return tanhf(v);
    case Activation::kSilu:
      return v * sigmoid(v);
    case Activation::kHardSigmoid:
      return fmaxf(0.0F, fminf(1.0F, alpha * v + beta));
    case Activation::kHardSwish:
      return v * fmaxf(0.0F, fminf(1.0F, v / 6.0F + 0.5F));
    case Activation::kLeakyRelu:
      return v < 0.0F ? alpha * v : v;
  }
  return v;
}

// The value before residual and activation: epilogue.h's first line.
__device__ __forceinline__ float start(const ProductOp& op, int n, float acc) {
  return op.bias.space == Space::kNone ? acc : acc + address<const float>(op.bias)[n];
}
__device__ __forceinline__ float start(const ProductOp& op, int n, int acc) {
  if (op.int_bias.space != Space::kNone) acc += address<const int>(op.int_bias)[n];
  const float v = __fmul_rn(static_cast<float>(acc), address<const float>(op.multiplier)[n]);
  return op.bias.space == Space::kNone ? v : __fadd_rn(v, address<const float>(op.bias)[n]);
}

// The first element of the residual's row for row m.
__device__ __forceinline__ int64_t residual_row(const ProductOp& op, int m) {
  return (op.residual_period == 0 ? m : m % op.residual_period) * op.residual_stride;
}

// Finishes element (m, n) of a product, n counted over all groups.
template <typename Acc>
__device__ __forceinline__ float finished(const ProductOp& op, int m, int n, Acc acc) {
  float v = start(op, n, acc);
  if (op.residual.space != Space::kNone) {
    v = __fadd_rn(
        v, load_float(op.residual.type, address<const void>(op.residual), residual_row(op, m) + n));
  }
  return activate(op.activation, v, op.alpha, op.beta);
}
template <typename Acc>
__device__ __forceinline__ void finish(const ProductOp& op, int m, int n, Acc acc) {
  store_float(op.dst.type, address<void>(op.dst), m * op.dst_stride + n, finished(op, m, n, acc),
              op.rounding);
}

// The launch after this one may begin; what it reads of ours it waits for.
__device__ __forceinline__ void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
// Everything that launches before this one wrote is there.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ float warp_sum(float v) {
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffU, v, d);
  return v;
}
__device__ __forceinline__ int warp_sum(int v) {
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffU, v, d);
  return v;
}
__device__ __forceinline__ float warp_max(float v) {
  for (int d = 16; d > 0; d /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffU, v, d));
  return v;
}

}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_COMMON_CUH_
