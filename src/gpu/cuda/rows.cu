// Layer norm and softmax: a warp a row.
#include "gpu/cuda/common.cuh"
#include "gpu/cuda/launch.cuh"

namespace pare::gpu::cuda {
namespace {

constexpr int kWarps = 8;

// Rows of at most 32 * N elements stay in registers.
template <int N>
__global__ void rows_kernel(const __grid_constant__ RowsOp op) {
  wait_for_previous();
  let_next_begin();
  const int lane = threadIdx.x % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= op.rows) return;
  const int64_t base = row * op.cols;
  const void* src = address<const void>(op.src);
  float v[N];
  const bool norm = op.kind == RowKind::kLayerNorm;
  float total = norm ? 0.0F : -INFINITY;
  for (int i = 0; i < N; ++i) {
    const int c = i * 32 + lane;
    v[i] = c < op.cols ? load_float(op.src.type, src, base + c) : (norm ? 0.0F : -INFINITY);
    total = norm ? total + v[i] : fmaxf(total, v[i]);
  }
  const float cols = static_cast<float>(op.cols);
  const float centre = norm ? warp_sum(total) / cols : warp_max(total);
  float sum = 0.0F;
  for (int i = 0; i < N; ++i) {
    if (i * 32 + lane >= op.cols) continue;
    const float d = v[i] - centre;
    sum += norm ? d * d : __expf(d);
  }
  sum = warp_sum(sum);
  const float factor = norm ? 1.0F / sqrtf(sum / cols + op.epsilon) : 1.0F / sum;
  const float log_sum = op.kind == RowKind::kLogSoftmax ? logf(sum) : 0.0F;
  for (int i = 0; i < N; ++i) {
    const int c = i * 32 + lane;
    if (c >= op.cols) continue;
    float r = v[i] - centre;
    if (norm) {
      r *= factor;
      if (op.gamma.space != Space::kNone) r *= address<const float>(op.gamma)[c];
      if (op.beta.space != Space::kNone) r += address<const float>(op.beta)[c];
    } else if (op.kind == RowKind::kSoftmax) {
      r = __expf(r) * factor;
    } else {
      r -= log_sum;
    }
    store_float(op.dst.type, address<void>(op.dst), base + c, r, op.rounding);
  }
}

// Longer rows are read three times.
__global__ void long_rows_kernel(const __grid_constant__ RowsOp op) {
  wait_for_previous();
  let_next_begin();
  const int lane = threadIdx.x % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= op.rows) return;
  const int64_t base = row * op.cols;
  const void* src = address<const void>(op.src);
  const bool norm = op.kind == RowKind::kLayerNorm;
  float total = norm ? 0.0F : -INFINITY;
  for (int c = lane; c < op.cols; c += 32) {
    const float v = load_float(op.src.type, src, base + c);
    total = norm ? total + v : fmaxf(total, v);
  }
  const float cols = static_cast<float>(op.cols);
  const float centre = norm ? warp_sum(total) / cols : warp_max(total);
  float sum = 0.0F;
  for (int c = lane; c < op.cols; c += 32) {
    const float d = load_float(op.src.type, src, base + c) - centre;
    sum += norm ? d * d : __expf(d);
  }
  sum = warp_sum(sum);
  const float factor = norm ? 1.0F / sqrtf(sum / cols + op.epsilon) : 1.0F / sum;
  const float log_sum = op.kind == RowKind::kLogSoftmax ? logf(sum) : 0.0F;
  for (int c = lane; c < op.cols; c += 32) {
    float r = load_float(op.src.type, src, base + c) - centre;
    if (norm) {
      r *= factor;
      if (op.gamma.space != Space::kNone) r *= address<const float>(op.gamma)[c];
      if (op.beta.space != Space::kNone) r += address<const float>(op.beta)[c];
    } else if (op.kind == RowKind::kSoftmax) {
      r = __expf(r) * factor;
    } else {
      r -= log_sum;
    }
    store_float(op.dst.type, address<void>(op.dst), base + c, r, op.rounding);
  }
}

// Layer norms of 16-bit floats, eight elements a load: Lanes lanes take a row, Vectors loads each.
template <typename T, int Lanes, int Vectors>
__global__ void wide_norm_kernel(const __grid_constant__ RowsOp op) {
  constexpr int kRows = 32 / Lanes;  // a warp
  constexpr float kCols = Lanes * Vectors * 8;
  const int lane = threadIdx.x % Lanes;
  const int64_t row = (static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32) * kRows +
                      threadIdx.x % 32 / Lanes;
  wait_for_previous();
  let_next_begin();
  const bool inside = row < op.rows;
  const T* src = address<const T>(op.src) + (inside ? row : 0) * op.cols;
  const auto row_sum = [](float v) {
    for (int d = Lanes / 2; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffU, v, d);
    return v;
  };
  float v[Vectors][8];
  float sum = 0.0F;
#pragma unroll
  for (int i = 0; i < Vectors; ++i) {
    T loaded[8];
    *reinterpret_cast<uint4*>(loaded) =
        *reinterpret_cast<const uint4*>(src + (i * Lanes + lane) * 8);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      v[i][k] = to_float(loaded[k]);
      sum += v[i][k];
    }
  }
  const float mean = row_sum(sum) / kCols;
  float squares = 0.0F;
#pragma unroll
  for (int i = 0; i < Vectors; ++i) {
#pragma unroll
    for (int k = 0; k < 8; ++k) squares += (v[i][k] - mean) * (v[i][k] - mean);
  }
  const float factor = 1.0F / sqrtf(row_sum(squares) / kCols + op.epsilon);
  if (!inside) return;
#pragma unroll
  for (int i = 0; i < Vectors; ++i) {
    const int c = (i * Lanes + lane) * 8;
    float gamma[8];
    float beta[8];
#pragma unroll
    for (int k = 0; k < 8; k += 4) {
      *reinterpret_cast<float4*>(gamma + k) =
          *reinterpret_cast<const float4*>(address<const float>(op.gamma) + c + k);
      *reinterpret_cast<float4*>(beta + k) =
          *reinterpret_cast<const float4*>(address<const float>(op.beta) + c + k);
    }
    T out[8];
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      out[k] = from_float<T>((v[i][k] - mean) * factor * gamma[k] + beta[k]);
    }
    *reinterpret_cast<uint4*>(address<T>(op.dst) + row * op.cols + c) =
        *reinterpret_cast<const uint4*>(out);
  }
}

template <typename T, int Lanes, int Vectors>
cudaError_t launch_wide(const RowsOp& op, const Launch& launch) {
  return start(launch, wide_norm_kernel<T, Lanes, Vectors>,
               blocks_for(op.rows, kWarps * (32 / Lanes)), kWarps * 32, 0, op);
}

// cudaErrorNotSupported: not one of the widths that transformers have.
template <typename T>
cudaError_t launch_norm(const RowsOp& op, const Launch& launch) {
  switch (op.cols) {
    case 64:
      return launch_wide<T, 8, 1>(op, launch);
    case 128:
      return launch_wide<T, 16, 1>(op, launch);
    case 192:
      return launch_wide<T, 8, 3>(op, launch);
    case 384:
      return launch_wide<T, 16, 3>(op, launch);
    case 768:
      return launch_wide<T, 32, 3>(op, launch);
    case 1024:
      return launch_wide<T, 32, 4>(op, launch);
    case 1280:
      return launch_wide<T, 32, 5>(op, launch);
    default:
      return cudaErrorNotSupported;
  }
}

cudaError_t launch_transformer_norm(const RowsOp& op, const Launch& launch) {
  const bool plain = op.kind == RowKind::kLayerNorm && op.src.type == op.dst.type &&
                     op.gamma.space != Space::kNone && op.beta.space != Space::kNone &&
                     op.src.offset % 16 == 0;
  if (plain && op.src.type == DType::kFloat16) return launch_norm<__half>(op, launch);
  if (plain && op.src.type == DType::kBFloat16) return launch_norm<__nv_bfloat16>(op, launch);
  return cudaErrorNotSupported;
}

}  // namespace

cudaError_t launch(const RowsOp& op, const Launch& launch) {
  const cudaError_t wide = launch_transformer_norm(op, launch);
  if (wide != cudaErrorNotSupported) return wide;
  auto kernel = long_rows_kernel;
  if (op.cols <= 64) {
    kernel = rows_kernel<2>;
  } else if (op.cols <= 256) {
    kernel = rows_kernel<8>;
  } else if (op.cols <= 1024) {
    kernel = rows_kernel<32>;
  }
  return start(launch, kernel, blocks_for(op.rows, kWarps), kWarps * 32, 0, op);
}

}  // namespace pare::gpu::cuda
