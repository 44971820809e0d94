// The definitions of pool.h, element by element.
#include <algorithm>
#include <limits>

#include "kernels/pool/variants.h"
#include "kernels/scalar.h"

namespace pare {
namespace {

// What lies in one window of one channel.
struct Window {
  double sum = 0.0;  // of those inside the image, zero points subtracted
  float largest = -std::numeric_limits<float>::infinity();
  int64_t inside = 0;  // elements inside the image
  int64_t padded = 0;  // elements inside the image or its padding
};

Window look(const PoolProblem& p, const PoolArgs& args, int64_t b, int64_t y, int64_t x,
            int64_t c) {
  const float zero = p.src_type == DType::kUInt8 ? static_cast<float>(args.src_zero_point) : 0.0F;
  Window window;
  for (int64_t i = 0; i < p.kernel_h; ++i) {
    for (int64_t j = 0; j < p.kernel_w; ++j) {
      const int64_t in_y = y * p.stride_h + i * p.dilation_h - p.pad_top;
      const int64_t in_x = x * p.stride_w + j * p.dilation_w - p.pad_left;
      if (in_y < p.in_h + p.pad_bottom && in_x < p.in_w + p.pad_right) ++window.padded;
      if (in_y < 0 || in_y >= p.in_h || in_x < 0 || in_x >= p.in_w) continue;
      const float v = load_as_float(p.src_type, args.src,
                                    ((b * p.in_h + in_y) * p.in_w + in_x) * p.channels + c);
      ++window.inside;
      window.sum += static_cast<double>(v - zero);
      window.largest = std::max(window.largest, v);
    }
  }
  return window;
}

void run(const PoolKernel&, const PoolProblem& p, const PoolArgs& args, ThreadPool& pool) {
  pool.run(p.batch * p.out_h * p.out_w, [&](int64_t m, int) {
    const int64_t y = m / p.out_w % p.out_h;
    const int64_t x = m % p.out_w;
    for (int64_t c = 0; c < p.channels; ++c) {
      const Window w = look(p, args, m / p.out_w / p.out_h, y, x, c);
      const int64_t dst = m * p.channels + c;
      if (p.kind == PoolKind::kMax) {
        const float lowest = p.src_type == DType::kUInt8 ? 0.0F : w.largest;
        store_from_float(p.dst_type, args.dst, dst, std::max(w.largest, lowest), {});
        continue;
      }
      const auto count = static_cast<float>(p.count_include_pad ? w.padded : w.inside);
      float v = count == 0.0F ? 0.0F : static_cast<float>(w.sum) / count;
      if (p.src_type == DType::kUInt8) v *= args.src_scale;
      store_from_float(p.dst_type, args.dst, dst, v, {args.out_scale, args.out_zero_point, 0, 255});
    }
  });
}

}  // namespace

const PoolKernel pool_reference = {"pool_reference", kIsaBaseline, nullptr, run, nullptr};

}  // namespace pare
