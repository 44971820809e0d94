// Batch norm by the batch's statistics with the ReLU and the max pooling behind it, forward and
// backward, on bfloat16 with the channels last. A thread has eight neighbouring channels, 16 bytes,
// of some rows (a row is a pixel of an image). Sums are float32, in an order that depends on the
// shape alone.
#include "train/cuda/kernels.h"

namespace pare::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kVector = kNormVector;
constexpr int kMaxLanes = 32;
constexpr int kFinishLanes = 32;  // channels of a block that adds partial sums
constexpr int kFinishRows = 8;

struct alignas(16) Pack {
  __nv_bfloat16 v[kVector];
};
struct alignas(8) Places {
  uint8_t v[kVector];
};

__device__ void load(const __nv_bfloat16* from, float* to) {
  const Pack pack = *reinterpret_cast<const Pack*>(from);
#pragma unroll
  for (int i = 0; i < kVector; ++i) to[i] = __bfloat162float(pack.v[i]);
}

__device__ void store(const float* from, __nv_bfloat16* to) {
  Pack pack;
#pragma unroll
  for (int i = 0; i < kVector; ++i) pack.v[i] = __float2bfloat16_rn(from[i]);
  *reinterpret_cast<Pack*>(to) = pack;
}

__device__ void load_channels(const float* from, float* to) {
#pragma unroll
  for (int i = 0; i < kVector; i += 4) {
    *reinterpret_cast<float4*>(to + i) = *reinterpret_cast<const float4*>(from + i);
  }
}

// What normalising does to the eight channels of a thread.
struct Affine {
  float scale[kVector];
  float shift[kVector];

  __device__ Affine(const NormTensors& t, int channel) {
    float mean[kVector], invstd[kVector], beta[kVector];
    load_channels(t.mean + channel, mean);
    load_channels(t.invstd + channel, invstd);
    load_channels(t.gamma + channel, scale);
    load_channels(t.beta + channel, beta);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      scale[i] *= invstd[i];
      shift[i] = beta[i] - mean[i] * scale[i];
    }
  }
};

// The first channel of this thread.
__device__ int my_channel() { return (blockIdx.x * blockDim.x + threadIdx.x) * kVector; }

// Adds the sums of the threads of a block that share their channels and writes them:
// partial[blockIdx.y][channel][2].
__device__ void write_partial(const float* first, const float* second, int channels,
                              float* partial) {
  __shared__ float scratch[kThreads * 2 * kVector];
  float* mine = scratch + (threadIdx.y * blockDim.x + threadIdx.x) * 2 * kVector;
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    mine[2 * i] = first[i];
    mine[2 * i + 1] = second[i];
  }
  __syncthreads();
  const int width = blockDim.x * 2 * kVector;
  const int thread = threadIdx.y * blockDim.x + threadIdx.x;
  const int begin = blockIdx.x * width;  // of this block's channels, two numbers each
  for (int k = thread; k < width && begin + k < 2 * channels; k += blockDim.x * blockDim.y) {
    float sum = 0;
    for (int row = 0; row < blockDim.y; ++row) sum += scratch[row * width + k];
    partial[static_cast<int64_t>(blockIdx.y) * 2 * channels + begin + k] = sum;
  }
}

__global__ void __launch_bounds__(kThreads)
    statistics_kernel(const __nv_bfloat16* x, int rows, int channels, float* partial) {
  const int channel = my_channel();
  float sum[kVector] = {};
  float squares[kVector] = {};
  if (channel < channels) {
    // About the first row, so that a mean far from 0 does not swallow the deviation.
    float about[kVector];
    load(x + channel, about);
    const int step = gridDim.y * blockDim.y;
#pragma unroll 4
    for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += step) {
      float v[kVector];
      load(x + static_cast<int64_t>(row) * channels + channel, v);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const float d = v[i] - about[i];
        sum[i] += d;
        squares[i] += d * d;
      }
    }
  }
  write_partial(sum, squares, channels, partial);
}

// The two sums of one channel over all partial ones; threads of a column share a channel. True in
// the thread that has them.
__device__ bool finished_sums(const float* partial, int parts, int channels, float* first,
                              float* second) {
  __shared__ float2 scratch[kFinishRows][kFinishLanes];
  const int channel = blockIdx.x * kFinishLanes + threadIdx.x;
  float2 sum = {0, 0};
  if (channel < channels) {
#pragma unroll 4
    for (int p = threadIdx.y; p < parts; p += kFinishRows) {
      const float2 part =
          reinterpret_cast<const float2*>(partial)[static_cast<int64_t>(p) * channels + channel];
      sum.x += part.x;
      sum.y += part.y;
    }
  }
  scratch[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || channel >= channels) return false;
  *first = *second = 0;
  for (int row = 0; row < kFinishRows; ++row) {
    *first += scratch[row][threadIdx.x].x;
    *second += scratch[row][threadIdx.x].y;
  }
  return true;
}

__global__ void finish_statistics_kernel(const float* partial, int parts, int rows, int channels,
                                         NormTensors t, NormRule rule) {
  float sum, squares;
  if (!finished_sums(partial, parts, channels, &sum, &squares)) return;
  const int channel = blockIdx.x * kFinishLanes + threadIdx.x;
  const float n = static_cast<float>(rows);
  const float offset = sum / n;
  const float mean = __bfloat162float(t.x[channel]) + offset;
  const float variance = fmaxf(0.0F, squares / n - offset * offset);
  t.mean[channel] = mean;
  t.invstd[channel] = rsqrtf(variance + rule.epsilon);
  const float bias = t.bias == nullptr ? 0.0F : t.bias[channel];
  const float unbiased = variance * (n / fmaxf(1.0F, n - 1.0F));
  t.running_mean[channel] += rule.momentum * (mean + bias - t.running_mean[channel]);
  t.running_variance[channel] += rule.momentum * (unbiased - t.running_variance[channel]);
}

__global__ void __launch_bounds__(kThreads)
    apply_kernel(const NormShape shape, const NormTensors t, const NormRule rule) {
  const int channel = my_channel();
  if (channel >= shape.channels) return;
  const Affine affine(t, channel);
  const int step = gridDim.y * blockDim.y;
  const float least = rule.relu != 0 ? 0.0F : -INFINITY;
#pragma unroll 2
  for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < shape.rows(); row += step) {
    const int64_t at = static_cast<int64_t>(row) * shape.channels + channel;
    float v[kVector];
    load(t.x + at, v);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      v[i] = fmaxf(least, v[i] * affine.scale[i] + affine.shift[i]);
    }
    store(v, t.y + at);
  }
}

// The largest of each window, the first of equals as LibTorch has it, and where it was.
__global__ void __launch_bounds__(kThreads)
    apply_pool_kernel(const NormShape shape, const NormTensors t, const NormRule rule) {
  const int channel = my_channel();
  if (channel >= shape.channels) return;
  const Affine affine(t, channel);
  const int out_rows = shape.images * shape.out_height * shape.out_width;
  const float least = rule.relu != 0 ? 0.0F : -INFINITY;
  for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < out_rows;
       row += gridDim.y * blockDim.y) {
    const int ox = row % shape.out_width;
    const int oy = row / shape.out_width % shape.out_height;
    const int image = row / (shape.out_width * shape.out_height);
    float best[kVector];
    Places places;
    for (int place = 0; place < shape.window * shape.window; ++place) {
      const int y = oy * shape.stride + place / shape.window;
      const int x = ox * shape.stride + place % shape.window;
      const int64_t from = (static_cast<int64_t>(image) * shape.height + y) * shape.width + x;
      float v[kVector];
      load(t.x + from * shape.channels + channel, v);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const float z = fmaxf(least, v[i] * affine.scale[i] + affine.shift[i]);
        const float rounded = __bfloat162float(__float2bfloat16_rn(z));
        if (place == 0 || rounded > best[i]) {
          best[i] = rounded;
          places.v[i] = static_cast<uint8_t>(place);
        }
      }
    }
    const int64_t at = static_cast<int64_t>(row) * shape.channels + channel;
    store(best, t.y + at);
    *reinterpret_cast<Places*>(t.places + at) = places;
  }
}

// The gradient of what ReLU and pooling read: of the normalised x at `row`.
__device__ void gradient_at(const NormShape& shape, const NormTensors& t, const NormRule& rule,
                            const Affine& affine, int row, int channel, const float* x, float* g) {
  if (shape.window == 0) {
    load(t.y_gradient + static_cast<int64_t>(row) * shape.channels + channel, g);
  } else {
#pragma unroll
    for (int i = 0; i < kVector; ++i) g[i] = 0;
    const int px = row % shape.width;
    const int py = row / shape.width % shape.height;
    const int image = row / (shape.width * shape.height);
    // The windows that hold this pixel.
    const int last_y = min(shape.out_height - 1, py / shape.stride);
    const int last_x = min(shape.out_width - 1, px / shape.stride);
    for (int oy = last_y; oy >= 0 && py - oy * shape.stride < shape.window; --oy) {
      for (int ox = last_x; ox >= 0 && px - ox * shape.stride < shape.window; --ox) {
        const int place = (py - oy * shape.stride) * shape.window + px - ox * shape.stride;
        const int64_t at =
            ((static_cast<int64_t>(image) * shape.out_height + oy) * shape.out_width + ox) *
                shape.channels +
            channel;
        const Places places = *reinterpret_cast<const Places*>(t.places + at);
        float dy[kVector];
        load(t.y_gradient + at, dy);
#pragma unroll
        for (int i = 0; i < kVector; ++i) {
          if (places.v[i] == place) g[i] += dy[i];
        }
      }
    }
  }
  if (rule.relu == 0) return;
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    if (!(x[i] * affine.scale[i] + affine.shift[i] > 0.0F)) g[i] = 0;
  }
}

__global__ void __launch_bounds__(kThreads)
    reduce_gradient_kernel(const NormShape shape, const NormTensors t, const NormRule rule,
                           float* partial) {
  const int channel = my_channel();
  float sum[kVector] = {};
  float with_x[kVector] = {};
  if (channel < shape.channels) {
    const Affine affine(t, channel);
    float mean[kVector];
    load_channels(t.mean + channel, mean);
    const int step = gridDim.y * blockDim.y;
#pragma unroll 2
    for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < shape.rows(); row += step) {
      float x[kVector], g[kVector];
      load(t.x + static_cast<int64_t>(row) * shape.channels + channel, x);
      gradient_at(shape, t, rule, affine, row, channel, x, g);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        sum[i] += g[i];
        with_x[i] += g[i] * (x[i] - mean[i]);
      }
    }
  }
  write_partial(sum, with_x, shape.channels, partial);
}

__global__ void finish_gradient_kernel(const float* partial, int parts, int channels,
                                       NormTensors t) {
  float sum, with_x;
  if (!finished_sums(partial, parts, channels, &sum, &with_x)) return;
  const int channel = blockIdx.x * kFinishLanes + threadIdx.x;
  t.beta_gradient[channel] = sum;
  t.gamma_gradient[channel] = with_x * t.invstd[channel];
}

__global__ void __launch_bounds__(kThreads)
    apply_gradient_kernel(const NormShape shape, const NormTensors t, const NormRule rule) {
  const int channel = my_channel();
  if (channel >= shape.channels) return;
  const Affine affine(t, channel);
  float mean[kVector], invstd[kVector], of_sum[kVector], of_x[kVector];
  load_channels(t.mean + channel, mean);
  load_channels(t.invstd + channel, invstd);
  load_channels(t.beta_gradient + channel, of_sum);
  load_channels(t.gamma_gradient + channel, of_x);
  const float n = static_cast<float>(shape.rows());
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    of_sum[i] /= n;
    of_x[i] *= invstd[i] / n;
  }
  const int step = gridDim.y * blockDim.y;
#pragma unroll 2
  for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < shape.rows(); row += step) {
    const int64_t at = static_cast<int64_t>(row) * shape.channels + channel;
    float x[kVector], g[kVector];
    load(t.x + at, x);
    gradient_at(shape, t, rule, affine, row, channel, x, g);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      g[i] = affine.scale[i] * (g[i] - of_sum[i] - (x[i] - mean[i]) * of_x[i]);
    }
    store(g, t.x_gradient + at);
  }
}

// Blocks of 256 threads, some channels wide; as many rows of blocks as fill the GPU a few times.
struct Launch {
  dim3 grid, block;
};

Launch launch_over(int rows, int channels, int blocks_wanted) {
  const int vectors = channels / kVector;
  int lanes = 1;
  while (lanes < vectors && lanes < kMaxLanes) lanes *= 2;
  const int block_rows = kThreads / lanes;
  const int columns = (vectors + lanes - 1) / lanes;
  const int most = (rows + block_rows - 1) / block_rows;
  const int wanted = (blocks_wanted + columns - 1) / columns;
  return {dim3(columns, wanted < most ? wanted : most), dim3(lanes, block_rows)};
}

}  // namespace

constexpr int kSumBlocks = 528;     // four for each of an H100's multiprocessors
constexpr int kApplyBlocks = 2112;  // these take no sums, so more do no harm

int64_t norm_partial_floats(const NormShape& shape) {
  const Launch launch = launch_over(shape.rows(), shape.channels, kSumBlocks);
  return static_cast<int64_t>(launch.grid.y) * 2 * shape.channels;
}

void norm_forward(const NormShape& shape, const NormTensors& t, const NormRule& rule,
                  float* partial, cudaStream_t stream) {
  const Launch sums = launch_over(shape.rows(), shape.channels, kSumBlocks);
  statistics_kernel<<<sums.grid, sums.block, 0, stream>>>(t.x, shape.rows(), shape.channels,
                                                          partial);
  const int finish = (shape.channels + kFinishLanes - 1) / kFinishLanes;
  finish_statistics_kernel<<<finish, dim3(kFinishLanes, kFinishRows), 0, stream>>>(
      partial, static_cast<int>(sums.grid.y), shape.rows(), shape.channels, t, rule);
  if (shape.window == 0) {
    const Launch all = launch_over(shape.rows(), shape.channels, kApplyBlocks);
    apply_kernel<<<all.grid, all.block, 0, stream>>>(shape, t, rule);
  } else {
    const int out_rows = shape.images * shape.out_height * shape.out_width;
    const Launch all = launch_over(out_rows, shape.channels, kApplyBlocks);
    apply_pool_kernel<<<all.grid, all.block, 0, stream>>>(shape, t, rule);
  }
}

void norm_backward(const NormShape& shape, const NormTensors& t, const NormRule& rule,
                   float* partial, cudaStream_t stream) {
  const Launch sums = launch_over(shape.rows(), shape.channels, kSumBlocks);
  reduce_gradient_kernel<<<sums.grid, sums.block, 0, stream>>>(shape, t, rule, partial);
  const int finish = (shape.channels + kFinishLanes - 1) / kFinishLanes;
  finish_gradient_kernel<<<finish, dim3(kFinishLanes, kFinishRows), 0, stream>>>(
      partial, static_cast<int>(sums.grid.y), shape.channels, t);
  const Launch all = launch_over(shape.rows(), shape.channels, kApplyBlocks);
  apply_gradient_kernel<<<all.grid, all.block, 0, stream>>>(shape, t, rule);
}

}  // namespace pare::cuda
