// ONNX MatMulInteger and ConvInteger as they stand: int32 sums of products of 8-bit numbers, each
// less its zero point. For graphs that want the sums themselves; layers whose sums are scaled at
// once run in the gemm and conv families.
#ifndef PARE_KERNELS_QUANTIZE_INTEGER_PRODUCTS_H_
#define PARE_KERNELS_QUANTIZE_INTEGER_PRODUCTS_H_

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace pare {

// An 8-bit operand, signed or not.
struct ByteOperand {
  const void* data = nullptr;
  bool is_signed = false;
  int32_t at(int64_t i) const {
    return is_signed ? static_cast<const int8_t*>(data)[i] : static_cast<const uint8_t*>(data)[i];
  }
};

// dst[i][m, n] = sum over k of (a[i][m, k] - a_zero_points[m]) * (b[i][k, n] - b_zero_points[n]);
// all row-major, matrices beginning at the offsets. One zero point serves all rows or columns.
struct MatMulIntegerProblem {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  std::vector<int64_t> a_offsets;
  std::vector<int64_t> b_offsets;
};
void run_matmul_integer(const MatMulIntegerProblem& problem, ByteOperand a, ByteOperand b,
                        const std::vector<int32_t>& a_zero_points,
                        const std::vector<int32_t>& b_zero_points, int32_t* dst, ThreadPool& pool);

// NCHW source, OIHW weights, NCHW result, all dense; the padding is the source's zero point.
struct ConvIntegerProblem {
  int64_t batch = 1;
  int64_t in_c = 0;
  int64_t in_h = 0;
  int64_t in_w = 0;
  int64_t out_c = 0;
  int64_t out_h = 0;
  int64_t out_w = 0;
  int64_t kernel_h = 1;
  int64_t kernel_w = 1;
  int64_t stride_h = 1;
  int64_t stride_w = 1;
  int64_t dilation_h = 1;
  int64_t dilation_w = 1;
  int64_t pad_top = 0;
  int64_t pad_left = 0;
  int64_t groups = 1;
};
void run_conv_integer(const ConvIntegerProblem& problem, ByteOperand src, ByteOperand weights,
                      int32_t src_zero_point, const std::vector<int32_t>& weight_zero_points,
                      int32_t* dst, ThreadPool& pool);

}  // namespace pare

#endif  // PARE_KERNELS_QUANTIZE_INTEGER_PRODUCTS_H_
