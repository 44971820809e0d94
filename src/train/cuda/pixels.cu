// The input of a first convolution: pixels normalised and unfolded along the width, so that a
// kernel of KH × KW on 3 channels becomes one of KH × 1 on 3 KW (33 instead of 3 for AlexNet's):
// tensor cores take channels by eights, and would multiply five zeros for three numbers.
#include "train/cuda/kernels.h"

namespace pare::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kVector = 8;

struct alignas(16) Pack {
  __nv_bfloat16 v[kVector];
};

// Without contraction: what Cast, Mul and Add give, rounded once.
__device__ __nv_bfloat16 normalised(uint8_t pixel, float scale, float shift) {
  return __float2bfloat16_rn(__fadd_rn(__fmul_rn(static_cast<float>(pixel), scale), shift));
}

__global__ void __launch_bounds__(kThreads)
    unfold_kernel(const UnfoldShape s, const uint8_t* pixels, const float* scale,
                  const float* shift, Pack* out) {
  const int vectors = s.out_channels / kVector;
  const int64_t count = static_cast<int64_t>(s.images) * s.height * s.out_width * vectors;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= count) return;
  const int first = static_cast<int>(index % vectors) * kVector;
  const int64_t place = index / vectors;
  const int ox = static_cast<int>(place % s.out_width);
  const int64_t line = place / s.out_width;  // image · height + y
  const int y = static_cast<int>(line % s.height);
  const int64_t image = line / s.height;
  const int64_t plane = static_cast<int64_t>(s.height) * s.width;
  const uint8_t* row = pixels + image * s.channels * plane + static_cast<int64_t>(y) * s.width;
  const int left = ox * s.stride - s.padding;
  Pack pack;
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const int tap = (first + i) / s.channels;
    const int channel = (first + i) - tap * s.channels;
    const int x = left + tap;
    const bool inside = tap < s.taps && x >= 0 && x < s.width;
    pack.v[i] = inside ? normalised(row[channel * plane + x], scale[channel], shift[channel])
                       : __float2bfloat16_rn(0.0F);
  }
  out[index] = pack;
}

}  // namespace

void unfold_pixels(const UnfoldShape& shape, const uint8_t* pixels, const float* scale,
                   const float* shift, __nv_bfloat16* out, cudaStream_t stream) {
  const int64_t count = static_cast<int64_t>(shape.images) * shape.height * shape.out_width *
                        (shape.out_channels / kVector);
  const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  if (blocks == 0) return;
  unfold_kernel<<<blocks, kThreads, 0, stream>>>(shape, pixels, scale, shift,
                                                 reinterpret_cast<Pack*>(out));
}

}  // namespace pare::cuda
