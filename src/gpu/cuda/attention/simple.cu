// Attention of any types and sizes in float32: a warp a query.
#include "gpu/cuda/attention/variants.h"
#include "gpu/cuda/common.cuh"
#include "gpu/cuda/launch.cuh"

namespace pare::gpu::cuda {
namespace {

constexpr int kWarps = 8;

// Shared: keys [kv][qk + 1] and values [kv][v] when `resident`, then for each warp its query and
// its scores.
__global__ void simple_attention_kernel(const __grid_constant__ AttentionOp op, bool resident) {
  extern __shared__ float buffer[];
  const int image = blockIdx.x / op.heads;
  const int head = blockIdx.x % op.heads;
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int key_row = op.qk_dim + 1;
  float* keys = buffer;
  float* values = keys + (resident ? op.kv_tokens * key_row : 0);
  float* own =
      values + (resident ? op.kv_tokens * op.v_dim : 0) + warp * (op.qk_dim + op.kv_tokens);
  float* query = own;
  float* scores = own + op.qk_dim;
  const int64_t k_base = image * op.k_strides[0] + head * op.qk_dim;
  const int64_t v_base = image * op.v_strides[0] + head * op.v_dim;
  const void* k_data = address<const void>(op.k);
  const void* v_data = address<const void>(op.v);
  wait_for_previous();
  let_next_begin();
  if (resident) {
    for (int i = threadIdx.x; i < op.kv_tokens * op.qk_dim; i += kWarps * 32) {
      const int t = i / op.qk_dim;
      const int d = i % op.qk_dim;
      keys[t * key_row + d] = load_float(op.k.type, k_data, k_base + t * op.k_strides[1] + d);
    }
    for (int i = threadIdx.x; i < op.kv_tokens * op.v_dim; i += kWarps * 32) {
      const int t = i / op.v_dim;
      const int d = i % op.v_dim;
      values[i] = load_float(op.v.type, v_data, v_base + t * op.v_strides[1] + d);
    }
    __syncthreads();
  }
  for (int t = blockIdx.y * kWarps + warp; t < op.q_tokens; t += gridDim.y * kWarps) {
    const int64_t q_base = image * op.q_strides[0] + t * op.q_strides[1] + head * op.qk_dim;
    for (int d = lane; d < op.qk_dim; d += 32) {
      query[d] = load_float(op.q.type, address<const void>(op.q), q_base + d);
    }
    __syncwarp();
    float largest = -INFINITY;
    for (int j = lane; j < op.kv_tokens; j += 32) {
      float s = 0.0F;
      for (int d = 0; d < op.qk_dim; ++d) {
        const float k = resident ? keys[j * key_row + d]
                                 : load_float(op.k.type, k_data, k_base + j * op.k_strides[1] + d);
        s = fmaf(query[d], k, s);
      }
      s *= op.scale;
      scores[j] = s;
      largest = fmaxf(largest, s);
    }
    largest = warp_max(largest);
    float sum = 0.0F;
    for (int j = lane; j < op.kv_tokens; j += 32) {
      const float e = expf(scores[j] - largest);
      scores[j] = e;
      sum += e;
    }
    sum = warp_sum(sum);
    __syncwarp();
    for (int d = lane; d < op.v_dim; d += 32) {
      float r = 0.0F;
      for (int j = 0; j < op.kv_tokens; ++j) {
        const float v = resident ? values[j * op.v_dim + d]
                                 : load_float(op.v.type, v_data, v_base + j * op.v_strides[1] + d);
        r = fmaf(scores[j], v, r);
      }
      const int64_t at =
          ((static_cast<int64_t>(image) * op.q_tokens + t) * op.heads + head) * op.v_dim + d;
      store_float(op.dst.type, address<void>(op.dst), at, r / sum, op.rounding);
    }
    __syncwarp();
  }
}

}  // namespace

cudaError_t launch_simple_attention(const AttentionOp& op, const Launch& launch) {
  const size_t own = static_cast<size_t>(kWarps) * (op.qk_dim + op.kv_tokens) * 4;
  const size_t all = own + static_cast<size_t>(op.kv_tokens) * (op.qk_dim + 1 + op.v_dim) * 4;
  const bool resident = all <= static_cast<size_t>(launch.device.shared_bytes);
  // Few heads share their queries out to several blocks.
  const int heads = op.batch * op.heads;
  const int parts = heads < launch.device.processors ? blocks_for(op.q_tokens, kWarps) : 1;
  return start(launch, simple_attention_kernel, dim3(heads, parts), kWarps * 32,
               resident ? all : own, op, resident);
}

}  // namespace pare::gpu::cuda
