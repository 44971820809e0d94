#include "graph/window.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace pare {
namespace {

// Far above any real layer, small enough that no sum or product of two overflows.
constexpr int64_t kMaxWindowValue = 1 << 24;

Status fail(const Node& node, const std::string& what) {
  return invalid_argument(fmt::format("node '{}' ({}): {}", node.name, node.op, what));
}

// An attribute of `count` values, each at least `least`; `fallback` repeated where absent.
Result<std::vector<int64_t>> window_attribute(const Node& node, const char* key, size_t count,
                                              int64_t least, int64_t fallback) {
  std::vector<int64_t> values = node.ints_attribute(key);
  if (values.empty()) values.assign(count, fallback);
  if (values.size() != count) {
    return fail(node,
                fmt::format("attribute {} has {} values, expected {}", key, values.size(), count));
  }
  for (int64_t v : values) {
    if (v < least || v > kMaxWindowValue) {
      return fail(node, fmt::format("attribute {} holds {}, expected {} to {}", key, v, least,
                                    kMaxWindowValue));
    }
  }
  return values;
}

struct Axis {
  int64_t in = 0;
  int64_t kernel = 0;
  int64_t stride = 0;
  int64_t dilation = 0;
  int64_t pad_begin = 0;
  int64_t pad_end = 0;
  int64_t out = 0;

  int64_t span() const { return (kernel - 1) * dilation + 1; }
};

void pad_same(Axis& axis, bool upper) {
  axis.out = (axis.in + axis.stride - 1) / axis.stride;
  const int64_t total = std::max<int64_t>((axis.out - 1) * axis.stride + axis.span() - axis.in, 0);
  axis.pad_begin = upper ? total / 2 : total - total / 2;
  axis.pad_end = total - axis.pad_begin;
}

Status count_outputs(const Node& node, Axis& axis, bool ceil_mode) {
  const int64_t free = axis.in + axis.pad_begin + axis.pad_end - axis.span();
  if (free < 0) {
    return fail(node, fmt::format("a window of {} does not fit an image side of {} with padding {} "
                                  "and {}",
                                  axis.span(), axis.in, axis.pad_begin, axis.pad_end));
  }
  axis.out = (ceil_mode ? (free + axis.stride - 1) / axis.stride : free / axis.stride) + 1;
  if (ceil_mode && (axis.out - 1) * axis.stride >= axis.in + axis.pad_begin) axis.out -= 1;
  return ok_status();
}

}  // namespace

Result<Window> resolve_window(const Node& node, const Shape& input, int64_t kernel_h,
                              int64_t kernel_w) {
  if (input.size() != 4) {
    return unsupported(fmt::format(
        "node '{}' ({}): only two-dimensional images (NxCxHxW) are supported, input is {}",
        node.name, node.op, shape_string(input)));
  }
  PARE_ASSIGN_OR_RETURN(auto kernel, window_attribute(node, "kernel_shape", 2, 1, 1));
  if (kernel_h != 0) {
    if (!node.ints_attribute("kernel_shape").empty() && kernel != Shape{kernel_h, kernel_w}) {
      return fail(node, fmt::format("kernel_shape {} does not match the weights' {}x{}",
                                    shape_string(kernel), kernel_h, kernel_w));
    }
    kernel = {kernel_h, kernel_w};
  } else if (node.ints_attribute("kernel_shape").empty()) {
    return fail(node, "attribute kernel_shape is missing");
  }
  PARE_ASSIGN_OR_RETURN(auto strides, window_attribute(node, "strides", 2, 1, 1));
  PARE_ASSIGN_OR_RETURN(auto dilations, window_attribute(node, "dilations", 2, 1, 1));
  PARE_ASSIGN_OR_RETURN(auto pads, window_attribute(node, "pads", 4, 0, 0));
  const std::string auto_pad = node.string_attribute("auto_pad", "NOTSET");
  const bool same = auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER";
  if (!same && auto_pad != "NOTSET" && auto_pad != "VALID") {
    return fail(node, fmt::format("attribute auto_pad is '{}', expected NOTSET, SAME_UPPER, "
                                  "SAME_LOWER or VALID",
                                  auto_pad));
  }
  if (auto_pad == "VALID") pads.assign(4, 0);
  std::array<Axis, 2> axes;
  for (size_t i = 0; i < 2; ++i) {
    axes[i] = {input[2 + i], kernel[i], strides[i], dilations[i], pads[i], pads[2 + i], 0};
    if (axes[i].in < 1 || axes[i].in > kMaxWindowValue || axes[i].kernel > kMaxWindowValue ||
        axes[i].span() > kMaxWindowValue) {
      return fail(node, fmt::format("an image of {} with a window of {} is out of range",
                                    shape_string(input), shape_string(kernel)));
    }
    if (same) {
      pad_same(axes[i], auto_pad == "SAME_UPPER");
    } else {
      PARE_RETURN_IF_ERROR(count_outputs(node, axes[i], node.int_attribute("ceil_mode", 0) != 0));
    }
  }
  const auto& [h, w] = axes;
  return Window{h.kernel,
                w.kernel,
                h.stride,
                w.stride,
                h.dilation,
                w.dilation,
                h.pad_begin,
                w.pad_begin,
                h.pad_end,
                w.pad_end,
                h.out,
                w.out,
                node.int_attribute("count_include_pad", 0) != 0};
}

}  // namespace pare
