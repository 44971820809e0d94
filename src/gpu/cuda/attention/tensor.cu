// Attention on tensor cores: a warp sixteen queries, their scores against all keys in registers.
#include "gpu/cuda/attention/variants.h"
#include "gpu/cuda/common.cuh"
#include "gpu/cuda/launch.cuh"
#include "gpu/cuda/tensor_core.cuh"

namespace pare::gpu::cuda {
namespace {

constexpr int kDim = 64;

__device__ __forceinline__ uint32_t packed(float a, float b, const __half*) {
  const __half2 v = __floats2half2_rn(a, b);
  return *reinterpret_cast<const uint32_t*>(&v);
}
__device__ __forceinline__ uint32_t packed(float a, float b, const __nv_bfloat16*) {
  const __nv_bfloat162 v = __floats2bfloat162_rn(a, b);
  return *reinterpret_cast<const uint32_t*>(&v);
}

// Rows of `tokens` vectors of one head into a swizzled tile; rows up to `padded` become zero.
template <typename T>
__device__ void fetch_rows(const T* from, int64_t stride, int tokens, int padded, uint32_t to,
                           int thread, int threads) {
  for (int i = thread; i < padded * 8; i += threads) {
    const int row = i / 8;
    const int piece = i % 8;
    const bool valid = row < tokens;
    copy_async<16>(to + swizzled(row, piece), from + (valid ? row * stride : 0) + piece * 8, valid);
  }
}

// Keys: 16 * Tiles at most. A head takes `warps` warps; a block several heads.
template <typename T, int Tiles>
__global__ void __launch_bounds__(416)
    tensor_attention_kernel(const __grid_constant__ AttentionOp op, int warps) {
  extern __shared__ __align__(128) unsigned char shared[];
  constexpr int kKeys = Tiles * 16;
  const int per_block = blockDim.x / (warps * 32);
  const int slot = threadIdx.x / (warps * 32);
  const int index = blockIdx.x * per_block + slot;
  const int thread = threadIdx.x % (warps * 32);
  const int lane = threadIdx.x % 32;
  const int queries = warps * 16;
  const uint32_t bytes = (2 * kKeys + queries) * 128;
  const uint32_t keys = static_cast<uint32_t>(__cvta_generic_to_shared(shared)) + slot * bytes;
  const uint32_t values = keys + kKeys * 128;
  const uint32_t q_tile = values + kKeys * 128;
  const bool inside = index < op.batch * op.heads;
  const int image = inside ? index / op.heads : 0;
  const int head = inside ? index % op.heads : 0;
  wait_for_previous();
  let_next_begin();
  fetch_rows(address<const T>(op.q) + image * op.q_strides[0] + head * kDim, op.q_strides[1],
             op.q_tokens, queries, q_tile, thread, warps * 32);
  fetch_rows(address<const T>(op.k) + image * op.k_strides[0] + head * kDim, op.k_strides[1],
             op.kv_tokens, kKeys, keys, thread, warps * 32);
  commit();
  fetch_rows(address<const T>(op.v) + image * op.v_strides[0] + head * kDim, op.v_strides[1],
             op.kv_tokens, kKeys, values, thread, warps * 32);
  commit();
  wait_group<1>();
  __syncthreads();

  const int row0 = thread / 32 * 16;
  float s[Tiles * 2][4] = {};
#pragma unroll
  for (int kk = 0; kk < kDim / 16; ++kk) {
    uint32_t q[4];
    load_matrices(q, q_tile + swizzled(row0 + lane % 16, kk * 2 + lane / 16));
#pragma unroll
    for (int j = 0; j < Tiles; ++j) {
      uint32_t k[4];
      load_matrices(k, keys + swizzled(j * 16 + lane % 8 + lane / 16 * 8, kk * 2 + lane / 8 % 2));
      multiply(s[j * 2], q, k[0], k[1], static_cast<const T*>(nullptr));
      multiply(s[j * 2 + 1], q, k[2], k[3], static_cast<const T*>(nullptr));
    }
  }
  // Softmax of rows lane / 4 and lane / 4 + 8; four lanes share a row.
  const float factor = op.scale * 1.44269504F;
  float largest[2] = {-INFINITY, -INFINITY};
#pragma unroll
  for (int j = 0; j < Tiles * 2; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int key = j * 8 + lane % 4 * 2 + e % 2;
      s[j][e] = key < op.kv_tokens ? s[j][e] * factor : -INFINITY;
      largest[e / 2] = fmaxf(largest[e / 2], s[j][e]);
    }
  }
  float sum[2] = {0.0F, 0.0F};
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    largest[r] = fmaxf(largest[r], __shfl_xor_sync(0xffffffffU, largest[r], 1));
    largest[r] = fmaxf(largest[r], __shfl_xor_sync(0xffffffffU, largest[r], 2));
  }
#pragma unroll
  for (int j = 0; j < Tiles * 2; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      s[j][e] = power_of_two(s[j][e] - largest[e / 2]);
      sum[e / 2] += s[j][e];
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sum[r] += __shfl_xor_sync(0xffffffffU, sum[r], 1);
    sum[r] += __shfl_xor_sync(0xffffffffU, sum[r], 2);
  }
  wait_group<0>();
  __syncthreads();
  float o[kDim / 8][4] = {};
#pragma unroll
  for (int j = 0; j < Tiles; ++j) {
    const T* type = nullptr;
    const uint32_t p[4] = {packed(s[j * 2][0], s[j * 2][1], type),
                           packed(s[j * 2][2], s[j * 2][3], type),
                           packed(s[j * 2 + 1][0], s[j * 2 + 1][1], type),
                           packed(s[j * 2 + 1][2], s[j * 2 + 1][3], type)};
#pragma unroll
    for (int d = 0; d < kDim / 16; ++d) {
      uint32_t v[4];
      load_transposed(v, values + swizzled(j * 16 + lane % 16, d * 2 + lane / 16));
      multiply(o[d * 2], p, v[0], v[1], type);
      multiply(o[d * 2 + 1], p, v[2], v[3], type);
    }
  }
  if (!inside) return;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int t = row0 + lane / 4 + r * 8;
    if (t >= op.q_tokens) continue;
    const float scale = 1.0F / sum[r];
    const int64_t base =
        ((static_cast<int64_t>(image) * op.q_tokens + t) * op.heads + head) * kDim + lane % 4 * 2;
#pragma unroll
    for (int d = 0; d < kDim / 8; ++d) {
      const float x = o[d][r * 2] * scale;
      const float y = o[d][r * 2 + 1] * scale;
      if (op.dst.type == op.q.type) {
        *reinterpret_cast<uint32_t*>(address<T>(op.dst) + base + d * 8) =
            packed(x, y, static_cast<const T*>(nullptr));
      } else {
        store_float(op.dst.type, address<void>(op.dst), base + d * 8, x, op.rounding);
        store_float(op.dst.type, address<void>(op.dst), base + d * 8 + 1, y, op.rounding);
      }
    }
  }
}

template <typename T, int Tiles>
cudaError_t launch_tiles(const AttentionOp& op, const Launch& launch) {
  const int warps = blocks_for(op.q_tokens, 16);
  const int heads = op.batch * op.heads;
  const int per_block = warps <= 4 && heads >= 4 * launch.device.processors ? 8 / warps : 1;
  const size_t shared = static_cast<size_t>(2 * Tiles * 16 + warps * 16) * 128 * per_block;
  return start(launch, tensor_attention_kernel<T, Tiles>, blocks_for(heads, per_block),
               per_block * warps * 32, shared, op, warps);
}

template <typename T>
cudaError_t launch_typed(const AttentionOp& op, const Launch& launch) {
  if (op.kv_tokens <= 32) return launch_tiles<T, 2>(op, launch);
  if (op.kv_tokens <= 80) return launch_tiles<T, 5>(op, launch);
  return launch_tiles<T, 13>(op, launch);
}

bool aligned(const Operand& operand, const int64_t (&strides)[2]) {
  return operand.offset % 16 == 0 && strides[0] % 8 == 0 && strides[1] % 8 == 0;
}

}  // namespace

bool takes_tensor_attention(const AttentionOp& op) {
  const bool half = op.q.type == DType::kFloat16 || op.q.type == DType::kBFloat16;
  return half && op.qk_dim == kDim && op.v_dim == kDim && op.kv_tokens <= 208 &&
         op.q_tokens <= 208 && aligned(op.q, op.q_strides) && aligned(op.k, op.k_strides) &&
         aligned(op.v, op.v_strides);
}

cudaError_t launch_tensor_attention(const AttentionOp& op, const Launch& launch) {
  return op.q.type == DType::kFloat16 ? launch_typed<__half>(op, launch)
                                      : launch_typed<__nv_bfloat16>(op, launch);
}

}  // namespace pare::gpu::cuda
