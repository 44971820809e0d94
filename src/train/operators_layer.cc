// Layers: convolution, pooling, normalisation, dropout.

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "train/operators.h"
#include "train/rank_norm.h"

namespace pare {
namespace {

using Tensors = std::vector<at::Tensor>;

// Geometry of a sliding window over the spatial dimensions, as ONNX's attributes give it.
struct Window {
  std::vector<int64_t> kernel;
  std::vector<int64_t> strides;
  std::vector<int64_t> dilations;
  std::vector<int64_t> begin;  // padding before and after each dimension
  std::vector<int64_t> end;

  bool symmetric() const { return begin == end; }
  bool padded() const {
    return std::any_of(begin.begin(), begin.end(), [](int64_t p) { return p != 0; }) ||
           std::any_of(end.begin(), end.end(), [](int64_t p) { return p != 0; });
  }
};

// auto_pad SAME: as much padding as makes the output ceil(input / stride), the odd one at the end
// (UPPER) or the beginning (LOWER).
void pad_to_same(const at::Tensor& x, bool upper, Window& window) {
  for (size_t d = 0; d < window.kernel.size(); ++d) {
    const int64_t size = x.size(static_cast<int64_t>(d) + 2);
    const int64_t out = (size + window.strides[d] - 1) / window.strides[d];
    const int64_t reach = (window.kernel[d] - 1) * window.dilations[d] + 1;
    const int64_t total = std::max<int64_t>(0, (out - 1) * window.strides[d] + reach - size);
    window.begin[d] = upper ? total / 2 : total - total / 2;
    window.end[d] = total - window.begin[d];
  }
}

Result<Window> read_window(const Node& node, const at::Tensor& x, std::vector<int64_t> kernel) {
  const size_t n = kernel.size();
  Window w;
  w.kernel = std::move(kernel);
  w.strides = node.ints_attribute("strides", std::vector<int64_t>(n, 1));
  w.dilations = node.ints_attribute("dilations", std::vector<int64_t>(n, 1));
  const std::vector<int64_t> pads = node.ints_attribute("pads", std::vector<int64_t>(2 * n, 0));
  if (x.dim() != static_cast<int64_t>(n) + 2 || w.strides.size() != n || w.dilations.size() != n ||
      pads.size() != 2 * n) {
    return invalid_argument(
        fmt::format("a window over {} dimensions does not fit its input of {}", n, x.dim() - 2));
  }
  w.begin.assign(pads.begin(), pads.begin() + static_cast<int64_t>(n));
  w.end.assign(pads.begin() + static_cast<int64_t>(n), pads.end());
  const std::string how = node.string_attribute("auto_pad", "NOTSET");
  if (how == "SAME_UPPER" || how == "SAME_LOWER") pad_to_same(x, how == "SAME_UPPER", w);
  if (how == "VALID") w.begin = w.end = std::vector<int64_t>(n, 0);
  return w;
}

// Pads the spatial dimensions; LibTorch lists paddings from the last dimension back.
at::Tensor pad_spatial(const at::Tensor& x, const Window& w, double value) {
  std::vector<int64_t> pads;
  for (size_t d = w.begin.size(); d-- > 0;) {
    pads.push_back(w.begin[d]);
    pads.push_back(w.end[d]);
  }
  return at::constant_pad_nd(x, pads, value);
}

OperatorResult conv(const OperatorCall& call) {
  const at::Tensor& weight = call.in(1);
  const auto sizes = weight.sizes();
  PARE_ASSIGN_OR_RETURN(
      const Window w,
      read_window(call.node, call.in(0), std::vector<int64_t>(sizes.begin() + 2, sizes.end())));
  const int64_t groups = call.node.int_attribute("group", 1);
  const std::optional<at::Tensor> bias =
      call.has(2) ? std::optional<at::Tensor>(call.in(2)) : std::nullopt;
  at::Tensor x = call.in(0);
  std::vector<int64_t> padding = w.begin;
  if (!w.symmetric()) {
    x = pad_spatial(x, w, 0.0);
    padding.assign(padding.size(), 0);
  }
  if (w.kernel.size() != 2) {
    return unsupported(fmt::format("convolution over {} dimensions", w.kernel.size()));
  }
  return Tensors{at::conv2d(x, weight, bias, w.strides, padding, w.dilations, groups)};
}

OperatorResult max_pool(const OperatorCall& call) {
  PARE_ASSIGN_OR_RETURN(
      Window w, read_window(call.node, call.in(0), call.node.ints_attribute("kernel_shape")));
  if (w.kernel.size() != 2) {
    return unsupported(fmt::format("pooling over {} dimensions", w.kernel.size()));
  }
  if (call.node.outputs.size() > 1) return unsupported("the Indices output of MaxPool");
  at::Tensor x = call.in(0);
  // LibTorch pads by at most half a window.
  const bool direct =
      w.symmetric() && 2 * w.begin[0] <= w.kernel[0] && 2 * w.begin[1] <= w.kernel[1];
  if (!direct) {
    x = pad_spatial(x, w, -std::numeric_limits<double>::infinity());
    w.begin.assign(2, 0);
  }
  const bool ceil_mode = call.node.int_attribute("ceil_mode", 0) != 0;
  return Tensors{at::max_pool2d(x, w.kernel, w.strides, w.begin, w.dilations, ceil_mode)};
}

OperatorResult average_pool(const OperatorCall& call) {
  PARE_ASSIGN_OR_RETURN(
      Window w, read_window(call.node, call.in(0), call.node.ints_attribute("kernel_shape")));
  const bool dilated =
      std::any_of(w.dilations.begin(), w.dilations.end(), [](int64_t d) { return d != 1; });
  if (w.kernel.size() != 2 || dilated) {
    return unsupported("average pooling over other than two plain dimensions");
  }
  const bool ceil_mode = call.node.int_attribute("ceil_mode", 0) != 0;
  const bool include_pad = call.node.int_attribute("count_include_pad", 0) != 0;
  const bool direct =
      w.symmetric() && 2 * w.begin[0] <= w.kernel[0] && 2 * w.begin[1] <= w.kernel[1];
  at::Tensor x = call.in(0);
  if (direct) {
    return Tensors{at::avg_pool2d(x, w.kernel, w.strides, w.begin, ceil_mode, include_pad)};
  }
  // Averages of the padded image, divided by the share of each window that lies inside.
  const at::Tensor sums =
      at::avg_pool2d(pad_spatial(x, w, 0.0), w.kernel, w.strides, {0, 0}, ceil_mode);
  if (include_pad) return Tensors{sums};
  const at::Tensor inside = at::ones({1, 1, x.size(2), x.size(3)}, x.options());
  return Tensors{
      sums / at::avg_pool2d(pad_spatial(inside, w, 0.0), w.kernel, w.strides, {0, 0}, ceil_mode)};
}

std::vector<int64_t> spatial_axes(const at::Tensor& x) {
  std::vector<int64_t> axes;
  for (int64_t d = 2; d < x.dim(); ++d) axes.push_back(d);
  return axes;
}

OperatorResult global_average_pool(const OperatorCall& call) {
  return Tensors{at::mean(call.in(0), spatial_axes(call.in(0)), /*keepdim=*/true)};
}

OperatorResult global_max_pool(const OperatorCall& call) {
  return Tensors{at::amax(call.in(0), spatial_axes(call.in(0)), /*keepdim=*/true)};
}

OperatorResult batch_normalization(const OperatorCall& call) {
  // ONNX gives the share that the running statistics keep, LibTorch the share that is new.
  const double momentum = call.mode.batch_norm_momentum >= 0
                              ? call.mode.batch_norm_momentum
                              : 1.0 - call.node.float_attribute("momentum", 0.9F);
  if (call.mode.batch_statistics && call.mode.ranks != nullptr) {
    return Tensors{rank_batch_norm(*call.mode.ranks,
                                   {.x = call.in(0),
                                    .gamma = call.in(1),
                                    .beta = call.in(2),
                                    .running_mean = call.in(3),
                                    .running_variance = call.in(4),
                                    .batch_share = call.mode.batch_share,
                                    .momentum = momentum,
                                    .epsilon = call.node.float_attribute("epsilon", 1e-5F)})};
  }
  return Tensors{at::batch_norm(call.in(0), call.in(1), call.in(2), call.in(3), call.in(4),
                                call.mode.batch_statistics, momentum,
                                call.node.float_attribute("epsilon", 1e-5F),
                                /*cudnn_enabled=*/true)};
}

OperatorResult layer_normalization(const OperatorCall& call) {
  const at::Tensor& x = call.in(0);
  int64_t axis = call.node.int_attribute("axis", -1);
  if (axis < 0) axis += x.dim();
  const float epsilon = call.node.float_attribute("epsilon", 1e-5F);
  const std::optional<at::Tensor> bias =
      call.has(2) ? std::optional<at::Tensor>(call.in(2)) : std::nullopt;
  return Tensors{
      at::layer_norm(x, x.sizes().slice(static_cast<size_t>(axis)), call.in(1), bias, epsilon)};
}

OperatorResult local_response_normalization(const OperatorCall& call) {
  // x / (bias + alpha/size · sum of squares over `size` neighbouring channels)^beta
  const at::Tensor& x = call.in(0);
  const int64_t size = call.node.int_attribute("size", 1);
  const at::Tensor squares =
      at::constant_pad_nd((x * x).unsqueeze(1), {0, 0, 0, 0, (size - 1) / 2, size / 2});
  const at::Tensor mean = at::avg_pool3d(squares, {size, 1, 1}, {1, 1, 1}).squeeze(1);
  const float alpha = call.node.float_attribute("alpha", 1e-4F);
  const float beta = call.node.float_attribute("beta", 0.75F);
  return Tensors{x / at::pow(mean * alpha + call.node.float_attribute("bias", 1.0F), beta)};
}

OperatorResult dropout(const OperatorCall& call) {
  if (call.node.outputs.size() > 1 && !call.node.outputs[1].empty()) {
    return unsupported("the mask output of Dropout");
  }
  const double ratio = call.has(1) ? call.in(1).item().toDouble() : 0.5;
  return Tensors{at::dropout(call.in(0), ratio, call.mode.dropout)};
}

}  // namespace

OperatorFunction find_layer_operator(const std::string& op) {
  static const std::map<std::string, OperatorFunction> table = {
      {"AveragePool", average_pool},
      {"BatchNormalization", batch_normalization},
      {"Conv", conv},
      {"Dropout", dropout},
      {"GlobalAveragePool", global_average_pool},
      {"GlobalMaxPool", global_max_pool},
      {"LRN", local_response_normalization},
      {"LayerNormalization", layer_normalization},
      {"MaxPool", max_pool},
  };
  const auto it = table.find(op);
  return it == table.end() ? nullptr : it->second;
}

}  // namespace pare
