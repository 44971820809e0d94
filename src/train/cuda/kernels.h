// Our CUDA kernels of training, as plain functions that launch them on a stream. No header of Torch
// is needed here; the pointers are to memory of the GPU unless they say otherwise.
#ifndef PARE_TRAIN_CUDA_KERNELS_H_
#define PARE_TRAIN_CUDA_KERNELS_H_

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "data/augment_draw.h"
#include "train/cuda/update_rule.h"

namespace pare::cuda {

// One batch of uint8 CHW images of one size.
struct AugmentBatch {
  const uint8_t* images = nullptr;     // all that there are, one after the other
  const int32_t* positions = nullptr;  // [count] of each image of the batch among them
  const ImageDraw* draws = nullptr;    // [count]
  const BatchDraw* mix = nullptr;      // one
  uint8_t* out = nullptr;              // count images
  int32_t count = 0;
  int32_t channels = 0, height = 0, width = 0;
  PixelWork work = {};
};
// The work of data/augment.h on a whole batch, to the same bits: geometry, colour, cutout and
// mixing in one pass.
void augment(const AugmentBatch& batch, cudaStream_t stream);

// One weight as the update sees it; what a rule or a run does not have is null.
struct WeightRow {
  float* weight;
  const void* gradient;  // float32 or bfloat16; null: the weight stays
  float* first;
  float* second;
  const float* step;  // AdamW: how many steps there were with this one
  float* average;
  __nv_bfloat16* copy;  // the weight rounded, for the next forward pass
  int64_t count;
  float decay;
  float rate_share;  // of the step's rate
  int32_t bfloat16_gradient;
};
// What one block of threads works on: kChunk elements of a row, from `begin`.
struct WeightChunk {
  int64_t begin;
  int32_t row;
};
constexpr int kChunk = 4096;

// One step of all weights by `rule` (gpu_tools.h). `gradient_scale` may be null.
void update_weights(const UpdateRule& rule, const WeightRow* rows, const WeightChunk* chunks,
                    int chunk_count, const UpdateScalars* scalars, const float* gradient_scale,
                    cudaStream_t stream);

// Batch norm over all but the channels, with the ReLU and the max pooling behind it.
constexpr int kNormVector = 8;  // the number of channels is a multiple
struct NormShape {
  int32_t images, height, width, channels;
  int32_t window, stride;  // of the pooling, square and without padding; 0: none
  int32_t out_height, out_width;

  __host__ __device__ int32_t rows() const { return images * height * width; }
};
struct NormTensors {
  const __nv_bfloat16* x;  // [images, height, width, channels]
  __nv_bfloat16* y;        // [images, out_height, out_width, channels]
  uint8_t* places;         // of the largest in each window; as y
  const float* gamma;
  const float* beta;
  const float* bias;  // of the layer before, which leaves it to the running mean; may be null
  float* mean;        // of the batch
  float* invstd;
  float* running_mean;
  float* running_variance;
  // Backward:
  const __nv_bfloat16* y_gradient;
  __nv_bfloat16* x_gradient;
  float* gamma_gradient;
  float* beta_gradient;
};
struct NormRule {
  float epsilon;
  float momentum;  // share of the batch in the running statistics
  int32_t relu;
};
// How many floats of memory the two need for their sums.
int64_t norm_partial_floats(const NormShape& shape);
// Statistics of the batch, running statistics, y.
void norm_forward(const NormShape& shape, const NormTensors& t, const NormRule& rule,
                  float* partial, cudaStream_t stream);
// The gradients of x, gamma and beta.
void norm_backward(const NormShape& shape, const NormTensors& t, const NormRule& rule,
                   float* partial, cudaStream_t stream);

// Layer norm over the last dimension.
struct LayerNormTensors {
  const void* x;  // [rows, size], float32 or bfloat16
  __nv_bfloat16* y;
  const float* gamma;
  const float* beta;
  float* mean;  // [rows]
  float* invstd;
  // Backward:
  const __nv_bfloat16* y_gradient;
  void* x_gradient;  // as x
  float* gamma_gradient;
  float* beta_gradient;
  int64_t rows;
  int32_t size;
  int32_t x_float32;
  float epsilon;
};
// Whether there is a kernel for rows of this size.
bool has_layer_norm(int64_t size);
// How many floats of memory the backward pass needs for its sums.
int64_t layer_norm_partial_floats(int64_t rows, int64_t size);
void layer_norm_forward(const LayerNormTensors& tensors, cudaStream_t stream);
void layer_norm_backward(const LayerNormTensors& tensors, float* partial, cudaStream_t stream);

// Pixels for a first convolution, normalised and unfolded along the width.
struct UnfoldShape {
  int32_t images, channels, height,
      width;                      // of the pixels, uint8 [images, channels, height, width]
  int32_t taps, stride, padding;  // of the convolution along the width
  int32_t out_width;
  int32_t out_channels;  // at least taps · channels, a multiple of 8; the rest are 0
};
// out[image, y, x, tap · channels + c] = pixel · scale[c] + shift[c], 0 beside the image.
void unfold_pixels(const UnfoldShape& shape, const uint8_t* pixels, const float* scale,
                   const float* shift, __nv_bfloat16* out, cudaStream_t stream);

}  // namespace pare::cuda

#endif  // PARE_TRAIN_CUDA_KERNELS_H_
