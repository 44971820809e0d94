// Augmentation of a batch in one pass. Every formula is that of data/augment.cc in the same order
// of operations, compiled without contraction to fused multiply-adds, so the bits are the same.
#include "train/cuda/kernels.h"

namespace pare::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMaxChannels = 4;

struct Geometry {
  int channels, height, width;
  __device__ int plane() const { return height * width; }
};

// One image of the batch: where its pixels come from and what happens to them.
struct Source {
  const uint8_t* image;
  ImageDraw draw;
  float own, of_grey, offset;  // colour, as data/augment.cc has them
};

__device__ int tap(const uint8_t* plane, const Geometry& g, int fill, int x, int y) {
  return x < 0 || y < 0 || x >= g.width || y >= g.height ? fill : plane[y * g.width + x];
}

// Crop, flip and affine: the channels of one pixel of the result.
__device__ void place(const Source& s, const PixelWork& work, const Geometry& g, int x, int y,
                      int* values) {
  const ImageDraw& d = s.draw;
  if (work.affine == 0) {
    const int from_x = work.crop == 0 ? x : (d.mirrored != 0 ? g.width - 1 - x : x) + d.dx;
    const int from_y = work.crop == 0 ? y : y + d.dy;
    for (int c = 0; c < g.channels; ++c) {
      values[c] = tap(s.image + c * g.plane(), g, work.fill[c % 3], from_x, from_y);
    }
    return;
  }
  const float cx = static_cast<float>(g.width - 1) / 2.0F;
  const float cy = static_cast<float>(g.height - 1) / 2.0F;
  const int column = (d.mirrored != 0 ? g.width - 1 - x : x) + d.dx;
  const float u = static_cast<float>(column) - cx - d.shift_x;
  const float v = static_cast<float>(y + d.dy) - cy - d.shift_y;
  const int fx = __float2int_rn((d.cosine * u + d.sine * v + cx) * 256.0F);
  const int fy = __float2int_rn((d.cosine * v - d.sine * u + cy) * 256.0F);
  const int left = fx >> 8;
  const int top = fy >> 8;
  const int wx = fx & 255;
  const int wy = fy & 255;
  for (int c = 0; c < g.channels; ++c) {
    const uint8_t* plane = s.image + c * g.plane();
    const int fill = work.fill[c % 3];
    const int upper =
        tap(plane, g, fill, left, top) * (256 - wx) + tap(plane, g, fill, left + 1, top) * wx;
    const int lower = tap(plane, g, fill, left, top + 1) * (256 - wx) +
                      tap(plane, g, fill, left + 1, top + 1) * wx;
    values[c] = (upper * (256 - wy) + lower * wy + (1 << 15)) >> 16;
  }
}

__device__ int to_byte(float x) { return static_cast<int>(fminf(255.0F, fmaxf(0.0F, x)) + 0.5F); }

__device__ void shade(const Source& s, int* values) {
  const float r = static_cast<float>(values[0]);
  const float g = static_cast<float>(values[1]);
  const float b = static_cast<float>(values[2]);
  const float grey = 0.299F * r + 0.587F * g + 0.114F * b;
  const float common = s.of_grey * grey + s.offset;
  values[0] = to_byte(s.own * r + common);
  values[1] = to_byte(s.own * g + common);
  values[2] = to_byte(s.own * b + common);
}

__device__ bool in_hole(const ImageDraw& d, int side, int x, int y) {
  const int left = d.hole_x - side / 2;
  const int top = d.hole_y - side / 2;
  return side != 0 && x >= left && x < left + side && y >= top && y < top + side;
}

__device__ void finished(const Source& s, const PixelWork& work, const Geometry& g, int x, int y,
                         int* values) {
  place(s, work, g, x, y, values);
  if (work.colour != 0) shade(s, values);
  if (!in_hole(s.draw, work.cutout, x, y)) return;
  for (int c = 0; c < g.channels; ++c) values[c] = work.fill[c % 3];
}

// The sum over the block, in every thread.
__device__ int block_sum(int value, int* scratch) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffU, value, step);
  __syncthreads();  // the scratch of the sum before may still be read
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  int sum = 0;
  for (int w = 0; w < kThreads / 32; ++w) sum += scratch[w];
  return sum;
}

// The factors of colour, which need the mean grey of the image as it lies after cropping.
__device__ void prepare_colour(Source& s, const PixelWork& work, const Geometry& g, int* scratch) {
  int sums[3] = {0, 0, 0};
  for (int p = threadIdx.x; p < g.plane(); p += kThreads) {
    int values[kMaxChannels];
    place(s, work, g, p % g.width, p / g.width, values);
    for (int c = 0; c < 3; ++c) sums[c] += values[c];
  }
  for (int& sum : sums) sum = block_sum(sum, scratch);
  const ImageDraw& d = s.draw;
  const float mean = (0.299F * static_cast<float>(sums[0]) + 0.587F * static_cast<float>(sums[1]) +
                      0.114F * static_cast<float>(sums[2])) /
                     static_cast<float>(g.plane());
  s.own = d.saturation * d.contrast * d.brightness;
  s.of_grey = (1.0F - d.saturation) * d.contrast * d.brightness;
  s.offset = (1.0F - d.contrast) * d.brightness * mean;
}

// A block works on an image and its partner, so that the two can be mixed in registers; the middle
// one of an odd number is its own partner.
__global__ void __launch_bounds__(kThreads) augment_kernel(const AugmentBatch batch) {
  __shared__ int scratch[kThreads / 32];
  const Geometry g = {batch.channels, batch.height, batch.width};
  const int64_t size = static_cast<int64_t>(g.channels) * g.plane();
  const int index[2] = {static_cast<int>(blockIdx.x),
                        batch.count - 1 - static_cast<int>(blockIdx.x)};
  const bool alone = index[0] == index[1];
  Source sources[2];
  for (int k = 0; k < 2; ++k) {
    sources[k].image = batch.images + batch.positions[index[k]] * size;
    sources[k].draw = batch.draws[index[k]];
    if (batch.work.colour != 0) prepare_colour(sources[k], batch.work, g, scratch);
  }
  const BatchDraw mix = *batch.mix;
  for (int p = threadIdx.x; p < g.plane(); p += kThreads) {
    const int x = p % g.width;
    const int y = p / g.width;
    int a[kMaxChannels];
    int b[kMaxChannels];
    finished(sources[0], batch.work, g, x, y, a);
    finished(sources[1], batch.work, g, x, y, b);
    const bool exchanged = mix.kind == BatchDraw::kCutMix && x >= mix.left && x < mix.right &&
                           y >= mix.top && y < mix.bottom;
    for (int c = 0; c < g.channels; ++c) {
      int first = exchanged ? b[c] : a[c];
      int second = exchanged ? a[c] : b[c];
      if (mix.kind == BatchDraw::kMixup && !alone) {
        first = (mix.own * a[c] + (256 - mix.own) * b[c] + 128) >> 8;
        second = (mix.own * b[c] + (256 - mix.own) * a[c] + 128) >> 8;
      }
      batch.out[index[0] * size + c * g.plane() + p] = static_cast<uint8_t>(first);
      if (!alone) batch.out[index[1] * size + c * g.plane() + p] = static_cast<uint8_t>(second);
    }
  }
}

}  // namespace

void augment(const AugmentBatch& batch, cudaStream_t stream) {
  augment_kernel<<<(batch.count + 1) / 2, kThreads, 0, stream>>>(batch);
}

}  // namespace pare::cuda
