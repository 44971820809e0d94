// Window: how a convolution or pooling slides over an image, with every default of ONNX filled in.
//
// Output size along one axis (onnx/docs/Operators.md, Conv and MaxPool):
//   span = (kernel - 1) * dilation + 1
//   out  = floor((in + pad_begin + pad_end - span) / stride) + 1       (ceil with ceil_mode, where
//          a last window that would start beyond in + pad_begin is dropped, as PyTorch and ONNX
//          Runtime do)
// auto_pad SAME_UPPER / SAME_LOWER: out = ceil(in / stride), padding shared out evenly, the odd row
// at the end / at the beginning. The pads given here are always the resolved ones.
#ifndef PARE_GRAPH_WINDOW_H_
#define PARE_GRAPH_WINDOW_H_

#include <cstdint>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

struct Window {
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
  int64_t out_h = 0;
  int64_t out_w = 0;
  // AveragePool: whether padded zeros count as elements of the mean.
  bool count_include_pad = false;

  bool has_padding() const {
    return pad_top != 0 || pad_left != 0 || pad_bottom != 0 || pad_right != 0;
  }
};

// `input`: N×C×H×W. `kernel_h`, `kernel_w`: of the weights of a convolution; 0 for pooling, whose
// kernel_shape attribute is required. kUnsupported for images that are not two-dimensional.
Result<Window> resolve_window(const Node& node, const Shape& input, int64_t kernel_h,
                              int64_t kernel_w);

}  // namespace pare

#endif  // PARE_GRAPH_WINDOW_H_
