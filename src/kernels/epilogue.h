// What happens to an accumulator of a product (gemm, conv) before it is stored. One order for all:
//
//   float product    v = acc + bias[n]
//   integer product  v = float(acc + int_bias[n]) * multiplier[n] (+ bias[n] if there is one: each
//                    operation rounds, no fused multiply-add)
//   then             v = v + residual[m, n]
//                    v = activation(v)
//   float result     dst = v, rounded to its type
//   integer result   dst = round_clamp(v / out_scale, out_zero_point, out_lo, out_hi) (rounding.h)
//
// An integer product with an integer result and nothing in between has out_scale 1 and
// multiplier[n] = requantise_multiplier(x_scale, w_scale[n], y_scale): the division by 1 is exact
// and may be left out. A ReLU before the rounding is out_lo = out_zero_point. The zero point of the
// source is in int_bias already: int_bias[n] = bias[n] - x_zero_point * sum_k w[k, n].
// n is the output channel (or column of the product), m the pixel (or row).
#ifndef PARE_KERNELS_EPILOGUE_H_
#define PARE_KERNELS_EPILOGUE_H_

#include <cstdint>

namespace pare {

enum class Activation : uint8_t {
  kNone,
  kRelu,
  kClip,      // min(max(v, alpha), beta)
  kGelu,      // v * (1 + erf(v / sqrt 2)) / 2
  kGeluTanh,  // v * (1 + tanh(sqrt(2 / pi) * (v + 0.044715 v^3))) / 2
  kSigmoid,
  kTanh,
  kSilu,         // v * sigmoid(v)
  kHardSigmoid,  // max(0, min(1, alpha * v + beta))
  kHardSwish,    // v * max(0, min(1, v / 6 + 0.5))
  kLeakyRelu,    // v < 0 ? alpha * v : v
};

struct Epilogue {
  const float* bias = nullptr;        // may be absent
  const int32_t* int_bias = nullptr;  // integer product; may be absent
  const float* multiplier = nullptr;  // integer product: one for each n
  // Float32, of the result's shape, `residual_stride` elements between rows; may be the destination
  // itself when that is float32.
  const float* residual = nullptr;
  int64_t residual_stride = 0;
  Activation activation = Activation::kNone;
  float alpha = 0.0F;
  float beta = 0.0F;
  float out_scale = 1.0F;
  int32_t out_zero_point = 0;
  int32_t out_lo = 0;  // integer result: its type's range, or narrower for a fused ReLU
  int32_t out_hi = 255;
};

}  // namespace pare

#endif  // PARE_KERNELS_EPILOGUE_H_
