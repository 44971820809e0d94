// Layers of several operators at once on a GPU, differentiable: the kernels of train/cuda behind
// LibTorch's autograd.
#ifndef PARE_TRAIN_GPU_LAYERS_H_
#define PARE_TRAIN_GPU_LAYERS_H_

#include <vector>

#include "train/cuda/gpu_tools.h"
#include "train/torch.h"

namespace pare {

// The number of channels must be a multiple.
constexpr int64_t kNormChannels = 8;
// Whether the kernel for batch norm serves such an input.
bool fits_norm_kernel(const at::Tensor& x);

// y of NormCall. Gradients go to x, gamma and beta, none to bias: adding a constant before batch
// norm changes nothing behind it.
at::Tensor norm_layer(GpuTools& tools, const NormCall& call);

// Whether the kernel for layer norm serves such an input.
bool fits_layer_norm_kernel(GpuTools& tools, const at::Tensor& x, const at::Tensor& gamma);
// y of LayerNormCall, bfloat16.
at::Tensor layer_norm_layer(GpuTools& tools, const LayerNormCall& call);

// A first convolution on uint8 pixels, bfloat16: what Cast, Mul, Add and Conv give. Gradients go to
// weight and bias.
struct PixelConv {
  at::Tensor pixels;        // uint8 [N, C, H, W]
  at::Tensor scale, shift;  // float32 [C]
  at::Tensor weight;        // [O, C, KH, KW]
  at::Tensor bias;          // [O] or undefined
  std::vector<int64_t> strides = {1, 1};
  std::vector<int64_t> pads = {0, 0, 0, 0};  // as ONNX lists them: top, left, bottom, right
};
at::Tensor pixel_conv(GpuTools& tools, const PixelConv& call);

}  // namespace pare

#endif  // PARE_TRAIN_GPU_LAYERS_H_
