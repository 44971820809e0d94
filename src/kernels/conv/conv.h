// Convolutions in two dimensions over channels-last activations:
//
//   dst[b, y, x, o] = sum over (i, j, c) of
//       src[b, y*stride_h + i*dilation_h - pad_top, x*stride_w + j*dilation_w - pad_left, g*C + c]
//       * w[o, c, i, j]
//
// src is [batch, in_h, in_w, in_c], dst [batch, out_h, out_w, out_c], both dense; the weights come
// as ONNX has them, [out_c, in_c / groups, kernel_h, kernel_w]; C = in_c / groups and g is the
// group of o. Outside the image the source is `pad_value` (an integer convolution: its zero point).
//
// Types (src, weights, sums -> dst):
//   float32|bfloat16|float16|uint8, float32|bfloat16|float16, float32
//                                             -> float32|bfloat16|float16|uint8
//   uint8, int8, int32                        -> the same
// A uint8 source with float weights is read as the numbers 0 … 255: a first layer with the
// normalisation folded into its weights and bias.
//
// What follows the sum is epilogue.h, with the output channel as its n and the output pixel as its
// m. Every float variant adds in the order i, j, c with fused multiply-add (bf16dot apart), so bits
// do not depend on the batch, the tasks or the threads. Integer variants are exact.
#ifndef PARE_KERNELS_CONV_CONV_H_
#define PARE_KERNELS_CONV_CONV_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "pare/status.h"

#include "base/dtype.h"
#include "base/thread_pool.h"
#include "kernels/epilogue.h"
#include "kernels/kernel.h"

namespace pare {

struct ConvProblem {
  int64_t batch = 1;
  int64_t in_h = 0;
  int64_t in_w = 0;
  int64_t in_c = 0;
  int64_t out_h = 0;
  int64_t out_w = 0;
  int64_t out_c = 0;
  int64_t kernel_h = 1;
  int64_t kernel_w = 1;
  int64_t stride_h = 1;
  int64_t stride_w = 1;
  int64_t dilation_h = 1;
  int64_t dilation_w = 1;
  int64_t pad_top = 0;
  int64_t pad_left = 0;
  int64_t pad_bottom = 0;
  int64_t pad_right = 0;
  int64_t groups = 1;
  DType src_type = DType::kFloat32;
  DType weights_type = DType::kFloat32;
  DType dst_type = DType::kFloat32;
  uint8_t pad_value = 0;  // for a uint8 source; others are padded with 0
  Activation activation = Activation::kNone;
  bool residual = false;
  double weight_density = 1.0;  // the share of weights that are not zero
};

// floor((in + pads - ((kernel - 1) * dilation + 1)) / stride) + 1, or 0 if the kernel does not fit.
int64_t conv_out_size(int64_t in, int64_t pads, int64_t kernel, int64_t stride, int64_t dilation);

struct ConvArgs {
  const void* src = nullptr;
  const std::byte* packed = nullptr;  // conv_pack's, 64-byte aligned
  void* dst = nullptr;
  Epilogue epilogue;             // residual_stride is out_c
  std::span<std::byte> scratch;  // conv_scratch_bytes(), 64-byte aligned
};

struct ConvKernel {
  const char* name;
  IsaBits needs;
  const char* packing;
  const char* (*refuse)(const ConvProblem&);
  // Of the problem these two read only what belongs to the layer: channels, kernel, dilation,
  // groups and the weights' type.
  int64_t (*packed_bytes)(const ConvKernel&, const ConvProblem&, const void* weights);
  void (*pack)(const ConvKernel&, const ConvProblem&, const void* weights, std::byte* packed);
  int64_t (*scratch_bytes)(const ConvKernel&, const ConvProblem&, int threads);
  void (*run)(const ConvKernel&, const ConvProblem&, const ConvArgs&, ThreadPool&);
  const void* tiles;
};

std::span<const ConvKernel* const> conv_kernels();
// Fails for types outside the table above and for sizes that do not fit together.
Result<Choice<ConvKernel>> choose_conv(const ConvProblem& problem, const KernelRequest& request);

int64_t conv_packed_bytes(const ConvKernel& kernel, const ConvProblem& problem,
                          const void* weights);
void conv_pack(const ConvKernel& kernel, const ConvProblem& problem, const void* weights,
               std::byte* packed);
int64_t conv_scratch_bytes(const ConvKernel& kernel, const ConvProblem& problem, int threads);
void conv_run(const ConvKernel& kernel, const ConvProblem& problem, const ConvArgs& args,
              ThreadPool& pool);

// sums[o] = sum of all weights of output channel o, for int8 weights: Epilogue::int_bias needs
// bias[o] - src_zero_point * sums[o].
void conv_channel_sums(const ConvProblem& problem, const int8_t* weights, int32_t* sums);

}  // namespace pare

#endif  // PARE_KERNELS_CONV_CONV_H_
