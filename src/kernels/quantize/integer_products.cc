#include "kernels/quantize/integer_products.h"

namespace pare {
namespace {

int32_t zero_point_at(const std::vector<int32_t>& zero_points, int64_t i) {
  if (zero_points.empty()) return 0;
  return zero_points[zero_points.size() == 1 ? 0 : static_cast<size_t>(i)];
}

// Sums may wrap, as they do in the processors' own instructions; unsigned arithmetic says so.
void add_product(int32_t& sum, int32_t x, int32_t y) {
  sum = static_cast<int32_t>(static_cast<uint32_t>(sum) + static_cast<uint32_t>(x * y));
}

int32_t conv_element(const ConvIntegerProblem& p, ByteOperand src, ByteOperand weights,
                     int32_t src_zero, int32_t weight_zero, int64_t b, int64_t o, int64_t y,
                     int64_t x) {
  const int64_t channels = p.in_c / p.groups;
  const int64_t first = o / (p.out_c / p.groups) * channels;
  int32_t sum = 0;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t i = 0; i < p.kernel_h; ++i) {
      for (int64_t j = 0; j < p.kernel_w; ++j) {
        const int64_t row = y * p.stride_h + i * p.dilation_h - p.pad_top;
        const int64_t col = x * p.stride_w + j * p.dilation_w - p.pad_left;
        if (row < 0 || row >= p.in_h || col < 0 || col >= p.in_w) continue;
        const int64_t s = ((b * p.in_c + first + c) * p.in_h + row) * p.in_w + col;
        const int64_t w = ((o * channels + c) * p.kernel_h + i) * p.kernel_w + j;
        add_product(sum, src.at(s) - src_zero, weights.at(w) - weight_zero);
      }
    }
  }
  return sum;
}

}  // namespace

void run_matmul_integer(const MatMulIntegerProblem& p, ByteOperand a, ByteOperand b,
                        const std::vector<int32_t>& a_zero_points,
                        const std::vector<int32_t>& b_zero_points, int32_t* dst, ThreadPool& pool) {
  const auto batch = static_cast<int64_t>(p.a_offsets.size());
  pool.run(batch * p.m, [&](int64_t task, int /*worker*/) {
    const int64_t m = task % p.m;
    const auto i = static_cast<size_t>(task / p.m);
    const int32_t a_zero = zero_point_at(a_zero_points, m);
    for (int64_t n = 0; n < p.n; ++n) {
      const int32_t b_zero = zero_point_at(b_zero_points, n);
      int32_t sum = 0;
      for (int64_t k = 0; k < p.k; ++k) {
        add_product(sum, a.at(p.a_offsets[i] + m * p.k + k) - a_zero,
                    b.at(p.b_offsets[i] + k * p.n + n) - b_zero);
      }
      dst[task * p.n + n] = sum;
    }
  });
}

void run_conv_integer(const ConvIntegerProblem& p, ByteOperand src, ByteOperand weights,
                      int32_t src_zero_point, const std::vector<int32_t>& weight_zero_points,
                      int32_t* dst, ThreadPool& pool) {
  pool.run(p.batch * p.out_c, [&](int64_t task, int /*worker*/) {
    const int64_t o = task % p.out_c;
    const int32_t weight_zero = zero_point_at(weight_zero_points, o);
    for (int64_t y = 0; y < p.out_h; ++y) {
      for (int64_t x = 0; x < p.out_w; ++x) {
        dst[(task * p.out_h + y) * p.out_w + x] =
            conv_element(p, src, weights, src_zero_point, weight_zero, task / p.out_c, o, y, x);
      }
    }
  });
}

}  // namespace pare
