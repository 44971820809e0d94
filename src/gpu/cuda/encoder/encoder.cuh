// A whole transformer in one launch: an image never leaves its block of threads.
//
// A warp owns sixteen tokens from the first layer to the last: their residual stream, in float32,
// and everything made of it stays in its registers, since the fragments that a product of tensor
// cores leaves are those that the next one takes. Warps meet in shared memory only where attention
// reads the keys and values of the image's other tokens, and to share weights, which stream
// through a ring of stages: 64 x 64 tiles, asked for a whole stage ahead.
//
// A stage is what one head needs (its q, k and v, and its columns of the projection) or what 128
// hidden units of the MLP do: in both cases four slices of 64 by the width.
#ifndef PARE_GPU_CUDA_ENCODER_ENCODER_CUH_
#define PARE_GPU_CUDA_ENCODER_ENCODER_CUH_

#include "gpu/cuda/common.cuh"
#include "gpu/cuda/encoder/encoder.h"
#include "gpu/cuda/launch.cuh"
#include "gpu/cuda/tensor_core.cuh"

namespace pare::gpu::cuda {
namespace {

constexpr int kHead = 64;
constexpr int kTileBytes = 64 * 128;
constexpr float kLog2E = 1.44269504F;

__device__ __forceinline__ uint32_t packed(float a, float b, const __half*) {
  const __half2 v = __floats2half2_rn(a, b);
  return *reinterpret_cast<const uint32_t*>(&v);
}
__device__ __forceinline__ uint32_t packed(float a, float b, const __nv_bfloat16*) {
  const __nv_bfloat162 v = __floats2bfloat162_rn(a, b);
  return *reinterpret_cast<const uint32_t*>(&v);
}
__device__ __forceinline__ float2 unpacked(uint32_t v, const __half*) {
  return __half22float2(*reinterpret_cast<const __half2*>(&v));
}
__device__ __forceinline__ float2 unpacked(uint32_t v, const __nv_bfloat16*) {
  return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&v));
}

// Sums of 16 rows x 64 columns become the factors of the next product: four steps of k.
template <typename T>
__device__ __forceinline__ void as_factors(const float (&acc)[8][4], uint32_t (&a)[4][4]) {
  const T* type = nullptr;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    a[k][0] = packed(acc[2 * k][0], acc[2 * k][1], type);
    a[k][1] = packed(acc[2 * k][2], acc[2 * k][3], type);
    a[k][2] = packed(acc[2 * k + 1][0], acc[2 * k + 1][1], type);
    a[k][3] = packed(acc[2 * k + 1][2], acc[2 * k + 1][3], type);
  }
}

// acc[16 x 64] += a[16 x 64] tile[64 n][64 k]^T.
template <typename T>
__device__ __forceinline__ void multiply_tile(float (&acc)[8][4], const uint32_t (&a)[4][4],
                                              uint32_t tile, int lane) {
#pragma unroll
  for (int k = 0; k < 4; ++k) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      uint32_t b[4];
      load_matrices(b, tile + swizzled(n * 16 + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
      multiply(acc[n * 2], a[k], b[0], b[1], static_cast<const T*>(nullptr));
      multiply(acc[n * 2 + 1], a[k], b[2], b[3], static_cast<const T*>(nullptr));
    }
  }
}

__device__ __forceinline__ void clear(float (&acc)[8][4]) {
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) acc[n][e] = 0.0F;
  }
}

// acc[row][column] += bias[column]; a lane has columns lane % 4 * 2 and the next of each eight.
__device__ __forceinline__ void add_columns(float (&acc)[8][4], const float* bias, int lane) {
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    const float2 b = *reinterpret_cast<const float2*>(bias + n * 8 + lane % 4 * 2);
    acc[n][0] += b.x;
    acc[n][1] += b.y;
    acc[n][2] += b.x;
    acc[n][3] += b.y;
  }
}

__device__ __forceinline__ float quad_sum(float v) {
  v += __shfl_xor_sync(0xffffffffU, v, 1);
  return v + __shfl_xor_sync(0xffffffffU, v, 2);
}
__device__ __forceinline__ float quad_max(float v) {
  v = fmaxf(v, __shfl_xor_sync(0xffffffffU, v, 1));
  return fmaxf(v, __shfl_xor_sync(0xffffffffU, v, 2));
}

// Mean and 1 / sqrt(var + epsilon) of a lane's two rows.
template <int Parts>
__device__ __forceinline__ void row_moments(const float (&x)[Parts][8][4], float epsilon,
                                            float (&mean)[2], float (&factor)[2]) {
  constexpr float kCount = Parts * 64;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float sum = 0.0F;
#pragma unroll
    for (int p = 0; p < Parts; ++p) {
#pragma unroll
      for (int n = 0; n < 8; ++n) sum += x[p][n][r * 2] + x[p][n][r * 2 + 1];
    }
    mean[r] = quad_sum(sum) / kCount;
    float squares = 0.0F;
#pragma unroll
    for (int p = 0; p < Parts; ++p) {
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        const float a = x[p][n][r * 2] - mean[r];
        const float b = x[p][n][r * 2 + 1] - mean[r];
        squares += a * a + b * b;
      }
    }
    factor[r] = rsqrtf(quad_sum(squares) / kCount + epsilon);
  }
}

// The layer norm of 64 columns of x.
__device__ __forceinline__ void normalise(const float (&x)[8][4], const float (&mean)[2],
                                          const float (&factor)[2], const float* gamma,
                                          const float* beta, int lane, float (&y)[8][4]) {
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    const float2 g = *reinterpret_cast<const float2*>(gamma + n * 8 + lane % 4 * 2);
    const float2 b = *reinterpret_cast<const float2*>(beta + n * 8 + lane % 4 * 2);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      y[n][r * 2] = (x[n][r * 2] - mean[r]) * factor[r] * g.x + b.x;
      y[n][r * 2 + 1] = (x[n][r * 2 + 1] - mean[r]) * factor[r] * g.y + b.y;
    }
  }
}

template <typename T, int Parts>
__device__ __forceinline__ void norm_factors(const float (&x)[Parts][8][4], float epsilon,
                                             const float* gamma, const float* beta, int lane,
                                             uint32_t (&h)[Parts][4][4]) {
  float mean[2];
  float factor[2];
  row_moments<Parts>(x, epsilon, mean, factor);
#pragma unroll
  for (int p = 0; p < Parts; ++p) {
    float y[8][4];
    normalise(x[p], mean, factor, gamma + p * 64, beta + p * 64, lane, y);
    as_factors<T>(y, h[p]);
  }
}

// Rows of a lane of this warp in the tile of its image's keys or values.
template <typename T>
__device__ __forceinline__ void store_rows(const float (&acc)[8][4], unsigned char* tile, int row,
                                           int lane) {
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int at = row + lane / 4 + r * 8;
      *reinterpret_cast<uint32_t*>(tile + swizzled(at, n) + lane % 4 * 4) =
          packed(acc[n][r * 2], acc[n][r * 2 + 1], static_cast<const T*>(nullptr));
    }
  }
}

// o[16 x 64] = softmax(q k^T) v of one head over `tokens` keys; q is scaled already, for exp2.
template <typename T, int KeyTiles>
__device__ __forceinline__ void attend(const uint32_t (&q)[4][4], uint32_t keys, uint32_t values,
                                       int tokens, int lane, float (&o)[8][4]) {
  const T* type = nullptr;
  float s[KeyTiles * 2][4];
#pragma unroll
  for (int j = 0; j < KeyTiles * 2; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) s[j][e] = 0.0F;
  }
#pragma unroll
  for (int k = 0; k < 4; ++k) {
#pragma unroll
    for (int j = 0; j < KeyTiles; ++j) {
      uint32_t b[4];
      load_matrices(b, keys + swizzled(j * 16 + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
      multiply(s[j * 2], q[k], b[0], b[1], type);
      multiply(s[j * 2 + 1], q[k], b[2], b[3], type);
    }
  }
  float largest[2] = {-INFINITY, -INFINITY};
#pragma unroll
  for (int j = 0; j < KeyTiles * 2; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (j * 8 + lane % 4 * 2 + e % 2 >= tokens) s[j][e] = -INFINITY;
      largest[e / 2] = fmaxf(largest[e / 2], s[j][e]);
    }
  }
  largest[0] = quad_max(largest[0]);
  largest[1] = quad_max(largest[1]);
  float sum[2] = {0.0F, 0.0F};
#pragma unroll
  for (int j = 0; j < KeyTiles * 2; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      s[j][e] = power_of_two(s[j][e] - largest[e / 2]);
      sum[e / 2] += s[j][e];
    }
  }
  clear(o);
#pragma unroll
  for (int j = 0; j < KeyTiles; ++j) {
    const uint32_t p[4] = {packed(s[j * 2][0], s[j * 2][1], type),
                           packed(s[j * 2][2], s[j * 2][3], type),
                           packed(s[j * 2 + 1][0], s[j * 2 + 1][1], type),
                           packed(s[j * 2 + 1][2], s[j * 2 + 1][3], type)};
#pragma unroll
    for (int d = 0; d < 4; ++d) {
      uint32_t b[4];
      load_transposed(b, values + swizzled(j * 16 + lane % 16, d * 2 + lane / 16));
      multiply(o[d * 2], p, b[0], b[1], type);
      multiply(o[d * 2 + 1], p, b[2], b[3], type);
    }
  }
  const float scale[2] = {1.0F / quad_sum(sum[0]), 1.0F / quad_sum(sum[1])};
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) o[n][e] *= scale[e / 2];
  }
}

// Stage `unit` of a layer: heads first, then 128 hidden units at a time. Tile which * Parts + p.
template <typename T, int Parts>
__device__ __forceinline__ void fetch_unit(const EncoderOp& op, int layer, int unit,
                                           uint32_t stage) {
  const EncoderLayer& l = op.layers[layer];
  constexpr int kDim = Parts * 64;
  const int inner = op.heads * kHead;
  const bool head = unit < op.heads;
  const int hidden = (unit - op.heads) * 128;
  const int row = threadIdx.x / 8;
  const int piece = threadIdx.x % 8;
  const int step = blockDim.x / 8;
#pragma unroll 1
  for (int tile = 0; tile < 4 * Parts; ++tile) {
    const int which = tile / Parts;
    const int part = tile % Parts;
    const T* from;
    int stride;
    if (head && which < 3) {
      from = address<const T>(l.qkv) + (which * inner + unit * kHead) * kDim + part * 64;
      stride = kDim;
    } else if (head) {
      from = address<const T>(l.proj) + part * 64 * inner + unit * kHead;
      stride = inner;
    } else if (which < 2) {
      from = address<const T>(l.fc1) + (hidden + which * 64) * kDim + part * 64;
      stride = kDim;
    } else {
      from = address<const T>(l.fc2) + part * 64 * op.mlp + hidden + (which - 2) * 64;
      stride = op.mlp;
    }
    for (int r = row; r < 64; r += step) {
      copy_async<16>(stage + tile * kTileBytes + swizzled(r, piece), from + r * stride + piece * 8,
                     true);
    }
  }
}

template <typename T, int Parts>
__device__ __forceinline__ void activate_all(const EncoderOp& op, float (&acc)[8][4]) {
  const bool relu = op.activation == Activation::kRelu;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      acc[n][e] = relu ? fmaxf(acc[n][e], 0.0F) : short_gelu(acc[n][e]);
    }
  }
}

// Warps: KeyTiles for each image of the block. Shared: the stages, then keys and values of each
// image.
template <typename T, int Parts, int KeyTiles, int Stages>
__global__ void __launch_bounds__(256, 1) encoder_kernel(const __grid_constant__ EncoderOp op) {
  extern __shared__ __align__(1024) unsigned char shared[];
  constexpr int kStageBytes = 4 * Parts * kTileBytes;
  constexpr int kRowBytes = KeyTiles * 16 * 128;  // keys, or values, of one image
  const T* type = nullptr;
  const uint32_t base = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int slot = warp / KeyTiles;
  const int row0 = warp % KeyTiles * 16;
  const int image = blockIdx.x * (blockDim.x / 32 / KeyTiles) + slot;
  unsigned char* key_bytes = shared + Stages * kStageBytes + slot * 2 * kRowBytes;
  unsigned char* value_bytes = key_bytes + kRowBytes;
  const uint32_t keys = base + Stages * kStageBytes + slot * 2 * kRowBytes;
  const uint32_t values = keys + kRowBytes;
  const int units = op.heads + op.mlp / 128;
  const int total = units * op.layer_count;
  int ahead_layer = 0;
  int ahead_unit = 0;
  const auto fetch_next = [&](int index) {
    if (index < total) {
      fetch_unit<T, Parts>(op, ahead_layer, ahead_unit, base + index % Stages * kStageBytes);
      if (++ahead_unit == units) {
        ahead_unit = 0;
        ++ahead_layer;
      }
    }
    commit();
  };
  for (int s = 0; s < Stages - 1; ++s) fetch_next(s);  // weights depend on no launch
  wait_for_previous();
  let_next_begin();

  float x[Parts][8][4];
  const int64_t image_row = static_cast<int64_t>(image) * op.tokens;
  const int first_row = row0 + lane / 4;
#pragma unroll
  for (int p = 0; p < Parts; ++p) {
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int t = first_row + r * 8;
        float2 v = {0.0F, 0.0F};
        if (image < op.batch && t < op.tokens) {
          const int64_t at = (image_row + t) * (Parts * 64) + p * 64 + n * 8 + lane % 4 * 2;
          v = unpacked(*reinterpret_cast<const uint32_t*>(address<const T>(op.src) + at), type);
        }
        x[p][n][r * 2] = v.x;
        x[p][n][r * 2 + 1] = v.y;
      }
    }
  }

  uint32_t h[Parts][4][4];
  int layer = 0;
  int unit = 0;
#pragma unroll 1
  for (int index = 0; index < total; ++index) {
    wait_group<Stages - 2>();
    __syncthreads();
    fetch_next(index + Stages - 1);
    const EncoderLayer& l = op.layers[layer];
    const uint32_t stage = base + index % Stages * kStageBytes;
    const auto tile = [&](int which, int part) {
      return stage + (which * Parts + part) * kTileBytes;
    };
    if (unit == 0) {
      norm_factors<T, Parts>(x, op.epsilon, address<const float>(l.norm1_gamma),
                             address<const float>(l.norm1_beta), lane, h);
    } else if (unit == op.heads) {
      norm_factors<T, Parts>(x, op.epsilon, address<const float>(l.norm2_gamma),
                             address<const float>(l.norm2_beta), lane, h);
    }
    float acc[8][4];
    if (unit < op.heads) {
      const float* bias = address<const float>(l.qkv_bias) + unit * kHead;
      const int inner = op.heads * kHead;
      clear(acc);
#pragma unroll
      for (int p = 0; p < Parts; ++p) multiply_tile<T>(acc, h[p], tile(1, p), lane);
      add_columns(acc, bias + inner, lane);
      store_rows<T>(acc, key_bytes, row0, lane);
      clear(acc);
#pragma unroll
      for (int p = 0; p < Parts; ++p) multiply_tile<T>(acc, h[p], tile(2, p), lane);
      add_columns(acc, bias + 2 * inner, lane);
      store_rows<T>(acc, value_bytes, row0, lane);
      clear(acc);
#pragma unroll
      for (int p = 0; p < Parts; ++p) multiply_tile<T>(acc, h[p], tile(0, p), lane);
      add_columns(acc, bias, lane);
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) acc[n][e] *= op.scale * kLog2E;
      }
      uint32_t factors[4][4];
      as_factors<T>(acc, factors);
      __syncthreads();
      attend<T, KeyTiles>(factors, keys, values, op.tokens, lane, acc);
      as_factors<T>(acc, factors);
#pragma unroll
      for (int p = 0; p < Parts; ++p) multiply_tile<T>(x[p], factors, tile(3, p), lane);
      if (unit == op.heads - 1) {
#pragma unroll
        for (int p = 0; p < Parts; ++p) {
          add_columns(x[p], address<const float>(l.proj_bias) + p * 64, lane);
        }
      }
    } else {
      const int hidden = (unit - op.heads) * 128;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        clear(acc);
#pragma unroll
        for (int p = 0; p < Parts; ++p) multiply_tile<T>(acc, h[p], tile(half, p), lane);
        add_columns(acc, address<const float>(l.fc1_bias) + hidden + half * 64, lane);
        activate_all<T, Parts>(op, acc);
        uint32_t factors[4][4];
        as_factors<T>(acc, factors);
#pragma unroll
        for (int p = 0; p < Parts; ++p) multiply_tile<T>(x[p], factors, tile(2 + half, p), lane);
      }
      if (unit == units - 1) {
#pragma unroll
        for (int p = 0; p < Parts; ++p) {
          add_columns(x[p], address<const float>(l.fc2_bias) + p * 64, lane);
        }
      }
    }
    if (++unit == units) {
      unit = 0;
      ++layer;
    }
  }
  if (op.last_gamma.space != Space::kNone) {
    float mean[2];
    float factor[2];
    row_moments<Parts>(x, op.epsilon, mean, factor);
#pragma unroll
    for (int p = 0; p < Parts; ++p) {
      float y[8][4];
      normalise(x[p], mean, factor, address<const float>(op.last_gamma) + p * 64,
                address<const float>(op.last_beta) + p * 64, lane, y);
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) x[p][n][e] = y[n][e];
      }
    }
  }
  if (image >= op.batch) return;
#pragma unroll
  for (int p = 0; p < Parts; ++p) {
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int t = first_row + r * 8;
        if (t >= op.tokens) continue;
        const int64_t at = (image_row + t) * (Parts * 64) + p * 64 + n * 8 + lane % 4 * 2;
        *reinterpret_cast<uint32_t*>(address<T>(op.dst) + at) =
            packed(x[p][n][r * 2], x[p][n][r * 2 + 1], type);
      }
    }
  }
}

template <typename T, int Parts, int KeyTiles>
cudaError_t launch_width(const EncoderOp& op, const Launch& launch) {
  constexpr int kStages = Parts == 1 ? 4 : (Parts == 2 ? 3 : 2);
  // Whole images until every processor has one, then more of them together.
  int images = 1;
  while (images * KeyTiles < 8 && op.batch > images * launch.device.processors) images *= 2;
  const size_t shared = static_cast<size_t>(kStages) * 4 * Parts * kTileBytes +
                        static_cast<size_t>(images) * KeyTiles * 16 * 256;
  return start(launch, encoder_kernel<T, Parts, KeyTiles, kStages>, blocks_for(op.batch, images),
               images * KeyTiles * 32, shared, op);
}

template <typename T>
cudaError_t launch_encoder(const EncoderOp& op, const Launch& launch) {
  // Widths and numbers of tokens as encoder.cc lets them through.
  switch (op.dim) {
    case 64:
      return launch_width<T, 1, 2>(op, launch);
    case 128:
      return launch_width<T, 2, 4>(op, launch);
    case 192:
      return launch_width<T, 3, 4>(op, launch);
    default:
      return cudaErrorNotSupported;
  }
}

}  // namespace
}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_ENCODER_ENCODER_CUH_
