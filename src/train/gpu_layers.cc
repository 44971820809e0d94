#include "train/gpu_layers.h"

#include <torch/csrc/autograd/custom_function.h>

#include <limits>

namespace pare {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class NormFunction : public torch::autograd::Function<NormFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& gamma,
                            const at::Tensor& beta, GpuTools* tools, const NormCall* call) {
    const NormResult result = tools->norm_forward(*call);
    context->save_for_backward({x, gamma, beta, result.mean, result.invstd, result.places});
    context->saved_data["tools"] = reinterpret_cast<int64_t>(tools);
    context->saved_data["relu"] = call->relu;
    context->saved_data["window"] = static_cast<int64_t>(call->window);
    context->saved_data["stride"] = static_cast<int64_t>(call->stride);
    return result.y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    NormCall call;
    call.x = saved[0];
    call.gamma = saved[1];
    call.beta = saved[2];
    call.relu = context->saved_data["relu"].toBool();
    call.window = static_cast<int>(context->saved_data["window"].toInt());
    call.stride = static_cast<int>(context->saved_data["stride"].toInt());
    const NormResult result = {{}, saved[3], saved[4], saved[5]};
    const at::Tensor y_gradient = gradients[0].contiguous(
        call.x.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
    auto* tools = reinterpret_cast<GpuTools*>(context->saved_data["tools"].toInt());
    const NormGradients out = tools->norm_backward(call, result, y_gradient);
    return {out.x, out.gamma, out.beta, at::Tensor(), at::Tensor()};
  }
};

class LayerNormFunction : public torch::autograd::Function<LayerNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& gamma,
                            const at::Tensor& beta, GpuTools* tools, double epsilon) {
    const LayerNormResult result = tools->layer_norm_forward({x, gamma, beta, epsilon});
    context->save_for_backward({x, gamma, beta, result.mean, result.invstd});
    context->saved_data["tools"] = reinterpret_cast<int64_t>(tools);
    return result.y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    auto* tools = reinterpret_cast<GpuTools*>(context->saved_data["tools"].toInt());
    const NormGradients out = tools->layer_norm_backward(
        {saved[0], saved[1], saved[2]}, {{}, saved[3], saved[4]}, gradients[0].contiguous());
    return {out.x, out.gamma, out.beta, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

bool fits_layer_norm_kernel(GpuTools& tools, const at::Tensor& x, const at::Tensor& gamma) {
  const bool type = x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
  return x.is_cuda() && type && x.dim() >= 2 && x.is_contiguous() && gamma.dim() == 1 &&
         gamma.size(0) == x.size(-1) && tools.has_layer_norm(x.size(-1));
}

at::Tensor layer_norm_layer(GpuTools& tools, const LayerNormCall& call) {
  return LayerNormFunction::apply(call.x, call.gamma, call.beta, &tools, call.epsilon);
}

bool fits_norm_kernel(const at::Tensor& x) {
  if (!x.is_cuda() || x.scalar_type() != at::kBFloat16 || x.numel() == 0) return false;
  if (x.size(1) % kNormChannels != 0 ||
      x.numel() / x.size(1) > std::numeric_limits<int32_t>::max()) {
    return false;
  }
  return x.dim() == 2 ? x.is_contiguous()
                      : x.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor norm_layer(GpuTools& tools, const NormCall& call) {
  return NormFunction::apply(call.x, call.gamma, call.beta, &tools, &call);
}

at::Tensor pixel_conv(GpuTools& tools, const PixelConv& call) {
  const int64_t channels = call.weight.size(1);
  const int64_t taps = call.weight.size(3);
  constexpr int64_t kEight = 8;  // channels that tensor cores take at once
  UnfoldCall unfold;
  unfold.pixels = call.pixels.contiguous();
  unfold.scale = call.scale;
  unfold.shift = call.shift;
  unfold.taps = taps;
  unfold.stride = call.strides[1];
  unfold.padding = call.pads[1];
  unfold.out_width =
      (call.pixels.size(3) + call.pads[1] + call.pads[3] - taps) / call.strides[1] + 1;
  unfold.out_channels = (taps * channels + kEight - 1) / kEight * kEight;
  at::Tensor x = tools.unfold_pixels(unfold);
  // [O, C, KH, KW] -> [O, KW · C, KH, 1], in the order of the unfolded channels.
  at::Tensor weight = call.weight.to(at::kBFloat16)
                          .permute({0, 3, 1, 2})
                          .reshape({call.weight.size(0), taps * channels, call.weight.size(2), 1});
  weight = at::constant_pad_nd(weight, {0, 0, 0, 0, 0, unfold.out_channels - taps * channels})
               .contiguous(at::MemoryFormat::ChannelsLast);
  int64_t padding = call.pads[0];
  if (call.pads[0] != call.pads[2]) {
    x = at::constant_pad_nd(x, {0, 0, call.pads[0], call.pads[2]});
    padding = 0;
  }
  const std::optional<at::Tensor> bias =
      call.bias.defined() ? std::optional<at::Tensor>(call.bias) : std::nullopt;
  return at::conv2d(x, weight, bias, {call.strides[0], 1}, {padding, 0});
}

}  // namespace pare
