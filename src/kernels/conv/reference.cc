// The formula of conv.h, element by element. Sums of floats are kept in double. Packing is a copy
// of the weights as ONNX has them.
#include <cstring>

#include "kernels/conv/variants.h"
#include "kernels/scalar.h"

namespace pare {
namespace {

int64_t packed_bytes(const ConvKernel&, const ConvProblem& p, const void*) {
  return p.out_c * (p.in_c / p.groups) * p.kernel_h * p.kernel_w * dtype_bytes(p.weights_type);
}

void pack(const ConvKernel& kernel, const ConvProblem& p, const void* weights, std::byte* packed) {
  const int64_t bytes = packed_bytes(kernel, p, weights);
  if (bytes > 0) std::memcpy(packed, weights, static_cast<size_t>(bytes));
}

int64_t scratch_bytes(const ConvKernel&, const ConvProblem&, int) { return 0; }

// Calls product(src index, weight index) for every term of the sum of output (b, y, x, o); the
// source index is -1 outside the image.
template <typename F>
void for_each_term(const ConvProblem& p, int64_t b, int64_t y, int64_t x, int64_t o, F&& product) {
  const int64_t group_c = p.in_c / p.groups;
  const int64_t first_c = o / (p.out_c / p.groups) * group_c;
  for (int64_t i = 0; i < p.kernel_h; ++i) {
    const int64_t in_y = y * p.stride_h + i * p.dilation_h - p.pad_top;
    for (int64_t j = 0; j < p.kernel_w; ++j) {
      const int64_t in_x = x * p.stride_w + j * p.dilation_w - p.pad_left;
      const bool inside = in_y >= 0 && in_y < p.in_h && in_x >= 0 && in_x < p.in_w;
      for (int64_t c = 0; c < group_c; ++c) {
        const int64_t src = ((b * p.in_h + in_y) * p.in_w + in_x) * p.in_c + first_c + c;
        product(inside ? src : -1, ((o * group_c + c) * p.kernel_h + i) * p.kernel_w + j);
      }
    }
  }
}

float element(const ConvProblem& p, const ConvArgs& args, int64_t b, int64_t y, int64_t x,
              int64_t o) {
  if (p.weights_type == DType::kInt8) {
    const auto* src = static_cast<const uint8_t*>(args.src);
    const auto* weights = reinterpret_cast<const int8_t*>(args.packed);
    int32_t sum = 0;
    for_each_term(p, b, y, x, o, [&](int64_t s, int64_t w) {
      sum += (s < 0 ? p.pad_value : src[s]) * weights[w];
    });
    return start_integer(args.epilogue, o, sum);
  }
  const double pad = p.src_type == DType::kUInt8 ? p.pad_value : 0.0;
  double sum = 0.0;
  for_each_term(p, b, y, x, o, [&](int64_t s, int64_t w) {
    const double value = s < 0 ? pad : load_as_float(p.src_type, args.src, s);
    sum += value * static_cast<double>(load_as_float(p.weights_type, args.packed, w));
  });
  return start_float(args.epilogue, o, static_cast<float>(sum));
}

void run(const ConvKernel&, const ConvProblem& p, const ConvArgs& args, ThreadPool& pool) {
  const int64_t pixels = p.out_h * p.out_w;
  pool.run(p.batch * pixels, [&](int64_t m, int) {
    const int64_t y = m % pixels / p.out_w;
    const int64_t x = m % p.out_w;
    for (int64_t o = 0; o < p.out_c; ++o) {
      const float v = element(p, args, m / pixels, y, x, o);
      finish_element(args.epilogue, p.dst_type, args.dst, m * p.out_c + o, m, o, v);
    }
  });
}

}  // namespace

const ConvKernel conv_reference = {"conv_reference", kIsaBaseline, "dense",
                                   nullptr,          packed_bytes, pack,
                                   scratch_bytes,    run,          nullptr};

}  // namespace pare
