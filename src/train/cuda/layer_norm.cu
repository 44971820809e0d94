// Layer norm over the last dimension, forward and backward. A warp has a row, whose numbers stay in
// its registers; results are bfloat16, for the matrix product that follows.
#include "train/cuda/kernels.h"

namespace pare::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kWarps = 8;  // of a block
constexpr int kPair = 2;   // neighbouring numbers of a lane

__device__ float warp_sum(float value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(~0U, value, step);
  return value;
}

__device__ float2 load_pair(const float* from) { return *reinterpret_cast<const float2*>(from); }
__device__ float2 load_pair(const __nv_bfloat16* from) {
  return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(from));
}
__device__ void store_pair(float2 v, float* to) { *reinterpret_cast<float2*>(to) = v; }
__device__ void store_pair(float2 v, __nv_bfloat16* to) {
  *reinterpret_cast<__nv_bfloat162*>(to) = __float22bfloat162_rn(v);
}

// Where pair i of a lane begins.
__device__ int place(int i) { return (i * kWarp + static_cast<int>(threadIdx.x)) * kPair; }

template <typename T, int Pairs>
__global__ void __launch_bounds__(kWarp* kWarps) forward_kernel(const LayerNormTensors t) {
  constexpr int kSize = Pairs * kWarp * kPair;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.y;
  if (row >= t.rows) return;
  const T* x = static_cast<const T*>(t.x) + row * kSize;
  float2 v[Pairs];
  float sum = 0;
#pragma unroll
  for (int i = 0; i < Pairs; ++i) {
    v[i] = load_pair(x + place(i));
    sum += v[i].x + v[i].y;
  }
  const float mean = warp_sum(sum) / kSize;
  float squares = 0;
#pragma unroll
  for (int i = 0; i < Pairs; ++i) {
    const float a = v[i].x - mean;
    const float b = v[i].y - mean;
    squares += a * a + b * b;
  }
  const float invstd = rsqrtf(warp_sum(squares) / kSize + t.epsilon);
#pragma unroll
  for (int i = 0; i < Pairs; ++i) {
    const float2 gamma = load_pair(t.gamma + place(i));
    const float2 beta = load_pair(t.beta + place(i));
    store_pair(make_float2((v[i].x - mean) * invstd * gamma.x + beta.x,
                           (v[i].y - mean) * invstd * gamma.y + beta.y),
               t.y + row * kSize + place(i));
  }
  if (threadIdx.x == 0) {
    t.mean[row] = mean;
    t.invstd[row] = invstd;
  }
}

template <typename T, int Pairs>
__global__ void __launch_bounds__(kWarp* kWarps)
    backward_kernel(const LayerNormTensors t, float* partial) {
  constexpr int kSize = Pairs * kWarp * kPair;
  float2 of_gamma[Pairs] = {};
  float2 of_beta[Pairs] = {};
  const int64_t step = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.y; row < t.rows;
       row += step) {
    const T* x = static_cast<const T*>(t.x) + row * kSize;
    const float mean = t.mean[row];
    const float invstd = t.invstd[row];
    float2 normal[Pairs];
    float2 g[Pairs];
    float sum = 0;
    float with_x = 0;
#pragma unroll
    for (int i = 0; i < Pairs; ++i) {
      const float2 v = load_pair(x + place(i));
      const float2 dy = load_pair(t.y_gradient + row * kSize + place(i));
      const float2 gamma = load_pair(t.gamma + place(i));
      normal[i] = make_float2((v.x - mean) * invstd, (v.y - mean) * invstd);
      of_gamma[i].x += dy.x * normal[i].x;
      of_gamma[i].y += dy.y * normal[i].y;
      of_beta[i].x += dy.x;
      of_beta[i].y += dy.y;
      g[i] = make_float2(dy.x * gamma.x, dy.y * gamma.y);
      sum += g[i].x + g[i].y;
      with_x += g[i].x * normal[i].x + g[i].y * normal[i].y;
    }
    sum = warp_sum(sum) / kSize;
    with_x = warp_sum(with_x) / kSize;
    T* dx = static_cast<T*>(t.x_gradient) + row * kSize;
#pragma unroll
    for (int i = 0; i < Pairs; ++i) {
      store_pair(make_float2(invstd * (g[i].x - sum - normal[i].x * with_x),
                             invstd * (g[i].y - sum - normal[i].y * with_x)),
                 dx + place(i));
    }
  }
  // partial[block][0: gamma, 1: beta][size]
  __shared__ float2 scratch[kWarps][kWarp];
  float* mine = partial + static_cast<int64_t>(blockIdx.x) * 2 * kSize;
#pragma unroll
  for (int i = 0; i < Pairs; ++i) {
    for (int which = 0; which < 2; ++which) {
      __syncthreads();
      scratch[threadIdx.y][threadIdx.x] = which == 0 ? of_gamma[i] : of_beta[i];
      __syncthreads();
      if (threadIdx.y != 0) continue;
      float2 sum = {0, 0};
      for (int warp = 0; warp < kWarps; ++warp) {
        sum.x += scratch[warp][threadIdx.x].x;
        sum.y += scratch[warp][threadIdx.x].y;
      }
      store_pair(sum, mine + which * kSize + place(i));
    }
  }
}

// Adds the blocks' sums: 2 · size numbers, 32 a block of this kernel.
__global__ void finish_kernel(const float* partial, int parts, int size, float* gamma_gradient,
                              float* beta_gradient) {
  __shared__ float scratch[kWarps][kWarp];
  const int at = static_cast<int>(blockIdx.x) * kWarp + static_cast<int>(threadIdx.x);
  float sum = 0;
  if (at < 2 * size) {
    for (int p = threadIdx.y; p < parts; p += kWarps) {
      sum += partial[static_cast<int64_t>(p) * 2 * size + at];
    }
  }
  scratch[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || at >= 2 * size) return;
  sum = 0;
  for (int warp = 0; warp < kWarps; ++warp) sum += scratch[warp][threadIdx.x];
  (at < size ? gamma_gradient[at] : beta_gradient[at - size]) = sum;
}

constexpr int kGradientBlocks = 264;  // two for each of an H100's multiprocessors

int gradient_blocks(int64_t rows) {
  const int64_t most = (rows + kWarps - 1) / kWarps;
  return static_cast<int>(most < kGradientBlocks ? most : kGradientBlocks);
}

template <typename T, int Pairs>
void launch_forward(const LayerNormTensors& t, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>((t.rows + kWarps - 1) / kWarps);
  forward_kernel<T, Pairs><<<blocks, dim3(kWarp, kWarps), 0, stream>>>(t);
}

template <typename T, int Pairs>
void launch_backward(const LayerNormTensors& t, float* partial, cudaStream_t stream) {
  const int blocks = gradient_blocks(t.rows);
  backward_kernel<T, Pairs><<<blocks, dim3(kWarp, kWarps), 0, stream>>>(t, partial);
  finish_kernel<<<(2 * t.size + kWarp - 1) / kWarp, dim3(kWarp, kWarps), 0, stream>>>(
      partial, blocks, t.size, t.gamma_gradient, t.beta_gradient);
}

template <int Pairs>
void launch(const LayerNormTensors& t, float* partial, cudaStream_t stream) {
  if (partial == nullptr && t.x_float32 != 0) return launch_forward<float, Pairs>(t, stream);
  if (partial == nullptr) return launch_forward<__nv_bfloat16, Pairs>(t, stream);
  if (t.x_float32 != 0) return launch_backward<float, Pairs>(t, partial, stream);
  launch_backward<__nv_bfloat16, Pairs>(t, partial, stream);
}

// Forward without `partial`, else backward.
void dispatch(const LayerNormTensors& t, float* partial, cudaStream_t stream) {
  switch (t.size / (kWarp * kPair)) {
    case 1:
      return launch<1>(t, partial, stream);
    case 2:
      return launch<2>(t, partial, stream);
    case 3:
      return launch<3>(t, partial, stream);
    case 4:
      return launch<4>(t, partial, stream);
    case 6:
      return launch<6>(t, partial, stream);
    case 8:
      return launch<8>(t, partial, stream);
    case 12:
      return launch<12>(t, partial, stream);
    case 16:
      return launch<16>(t, partial, stream);
    case 20:
      return launch<20>(t, partial, stream);
    default:
      return;
  }
}

}  // namespace

bool has_layer_norm(int64_t size) {
  for (const int64_t pairs : {1, 2, 3, 4, 6, 8, 12, 16, 20}) {
    if (size == pairs * kWarp * kPair) return true;
  }
  return false;
}

int64_t layer_norm_partial_floats(int64_t rows, int64_t size) {
  return gradient_blocks(rows) * 2 * size;
}

void layer_norm_forward(const LayerNormTensors& tensors, cudaStream_t stream) {
  if (tensors.rows > 0) dispatch(tensors, nullptr, stream);
}

void layer_norm_backward(const LayerNormTensors& tensors, float* partial, cudaStream_t stream) {
  if (tensors.rows > 0) dispatch(tensors, partial, stream);
}

}  // namespace pare::cuda
