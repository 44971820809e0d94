// Pools by pixels of one instruction set (pixel.h), output rows shared out among tasks.
#include <algorithm>

#include "kernels/gemm/panels.h"
#include "kernels/pool/pixel.h"
#include "kernels/pool/variants.h"

namespace pare {
namespace {

// The window's elements along one axis: the first inside the image, how many are, and how many are
// inside the image or its padding.
struct Span {
  int64_t first = 0;
  int64_t inside = 0;
  int64_t padded = 0;
};

Span look_along(int64_t out, int64_t stride, int64_t pad_before, int64_t pad_after, int64_t kernel,
                int64_t dilation, int64_t in) {
  const int64_t start = out * stride - pad_before;
  const auto count_below = [&](int64_t end) {  // elements at positions below `end`
    return std::clamp<int64_t>((end - start + dilation - 1) / dilation, 0, kernel);
  };
  const int64_t before = start < 0 ? count_below(0) : 0;
  Span s;
  s.first = start + before * dilation;
  s.inside = std::max<int64_t>(0, (s.first < in ? count_below(in) : before) - before);
  s.padded = start < in + pad_after ? count_below(in + pad_after) : 0;
  return s;
}

void run_row(const PoolPixel& pixel, const PoolProblem& p, const PoolArgs& args, int64_t row) {
  const int64_t b = row / p.out_h;
  const Span ys = look_along(row % p.out_h, p.stride_h, p.pad_top, p.pad_bottom, p.kernel_h,
                             p.dilation_h, p.in_h);
  PoolPixelArgs a;
  a.src = args.src;
  a.rows = ys.inside;
  a.row_step = p.dilation_h * p.in_w * p.channels;
  a.column_step = p.dilation_w * p.channels;
  a.channels = p.channels;
  a.dst = args.dst;
  a.type = stored_type(p.src_type);
  a.dst_type = stored_type(p.dst_type);
  const bool integer = p.src_type == DType::kUInt8;
  a.scale = integer ? args.src_scale : 1.0F;
  a.rounding = {args.out_scale, args.out_zero_point, 0, 255};
  auto* run = pixel.average;
  if (p.kind == PoolKind::kMax) run = integer ? pixel.max_uint8 : pixel.max;
  for (int64_t x = 0; x < p.out_w; ++x) {
    const Span xs =
        look_along(x, p.stride_w, p.pad_left, p.pad_right, p.kernel_w, p.dilation_w, p.in_w);
    a.columns = ys.inside == 0 ? 0 : xs.inside;
    a.first = a.columns == 0 ? 0 : ((b * p.in_h + ys.first) * p.in_w + xs.first) * p.channels;
    const int64_t inside = ys.inside * xs.inside;
    a.zero = integer ? static_cast<float>(inside * args.src_zero_point) : 0.0F;
    const int64_t count = p.count_include_pad ? ys.padded * xs.padded : inside;
    a.count = static_cast<float>(std::max<int64_t>(count, 1));
    a.dst_first = (row * p.out_w + x) * p.channels;
    run(a);
  }
}

void run(const PoolKernel& kernel, const PoolProblem& p, const PoolArgs& args, ThreadPool& pool) {
  const auto& pixel = *static_cast<const PoolPixel*>(kernel.rows);
  constexpr int64_t kTaskElements = 32768;  // about two microseconds
  const int64_t row_elements = std::max<int64_t>(1, p.out_w * p.channels * p.kernel_h * p.kernel_w);
  const int64_t in_task = std::max<int64_t>(1, kTaskElements / row_elements);
  const int64_t rows = p.batch * p.out_h;
  pool.run((rows + in_task - 1) / in_task, [&](int64_t task, int) {
    const int64_t last = std::min(rows, (task + 1) * in_task);
    for (int64_t r = task * in_task; r < last; ++r) run_row(pixel, p, args, r);
  });
}

}  // namespace

#if PARE_X86
const PoolKernel pool_pixel_avx512_kernel = {"pool_pixel_avx512", kIsaAvx512, nullptr, run,
                                             &pool_pixel_avx512};
const PoolKernel pool_pixel_avx2_kernel = {"pool_pixel_avx2", kIsaAvx2, nullptr, run,
                                           &pool_pixel_avx2};
#elif PARE_NEON
const PoolKernel pool_pixel_neon_kernel = {"pool_pixel_neon", kIsaBaseline, nullptr, run,
                                           &pool_pixel_neon};
#endif

}  // namespace pare
