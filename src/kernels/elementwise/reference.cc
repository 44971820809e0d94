// Elementwise loops as the formulas say them, with the C library's functions.
#include <algorithm>
#include <cmath>

#include "base/dtype.h"
#include "base/rounding.h"
#include "kernels/elementwise/loops.h"

namespace pare {
namespace {

template <typename F>
void each(const float* a, float* dst, int64_t n, F&& f) {
  for (int64_t i = 0; i < n; ++i) dst[i] = f(a[i]);
}

float sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }
float clip(float x, float low, float high) {
  const float v = x < low ? low : x;
  return v > high ? high : v;
}

#define PARE_UNARY(expression)                                            \
  [](const float* a, float* dst, int64_t n, [[maybe_unused]] float alpha, \
     [[maybe_unused]] float beta) {                                       \
    each(a, dst, n, [=](float x) -> float { return expression; });        \
  }
#define PARE_BINARY(expression)                               \
  [](const float* a, const float* b, float* dst, int64_t n) { \
    for (int64_t i = 0; i < n; ++i) {                         \
      const float x = a[i];                                   \
      const float y = b[i];                                   \
      dst[i] = expression;                                    \
    }                                                         \
  }

template <typename T>
void load(const T* src, float* dst, int64_t n, int32_t zero_point) {
  for (int64_t i = 0; i < n; ++i) dst[i] = static_cast<float>(src[i] - zero_point);
}

template <typename T>
void store(const float* src, T* dst, int64_t n, float scale, int32_t zero_point, int32_t lo,
           int32_t hi) {
  for (int64_t i = 0; i < n; ++i) {
    dst[i] = static_cast<T>(quantise(src[i], scale, zero_point, lo, hi));
  }
}

}  // namespace

extern const ElementwiseLoops kReferenceLoops;
const ElementwiseLoops kReferenceLoops = {
    {
        PARE_UNARY(std::fabs(x)),
        PARE_UNARY(-x),
        PARE_UNARY(std::exp(x)),
        PARE_UNARY(std::log(x)),
        PARE_UNARY(std::sqrt(x)),
        PARE_UNARY(1.0F / x),
        PARE_UNARY(std::erf(x)),
        PARE_UNARY(std::tanh(x)),
        PARE_UNARY(sigmoid(x)),
        PARE_UNARY(x < 0.0F ? 0.0F : x),
        PARE_UNARY(x < 0.0F ? alpha * x : x),
        PARE_UNARY(clip(x, alpha, beta)),
        PARE_UNARY(0.5F * x * (1.0F + std::erf(x * 0.70710678F))),
        PARE_UNARY(0.5F * x * (1.0F + std::tanh(0.79788456F * (x + 0.044715F * x * x * x)))),
        PARE_UNARY(x* sigmoid(x)),
        PARE_UNARY(clip(alpha* x + beta, 0.0F, 1.0F)),
        PARE_UNARY(x* clip((1.0F / 6.0F) * x + 0.5F, 0.0F, 1.0F)),
        PARE_UNARY(std::floor(x)),
        PARE_UNARY(std::ceil(x)),
        PARE_UNARY(std::nearbyint(x)),
        PARE_UNARY(x > 0.0F ? 1.0F : (x < 0.0F ? -1.0F : x)),
        PARE_UNARY(std::max(x, 0.0F) + std::log1p(std::exp(-std::fabs(x)))),
        PARE_UNARY(x < 0.0F ? alpha * (std::exp(x) - 1.0F) : x),
        PARE_UNARY(x* alpha),
    },
    {
        PARE_BINARY(x + y),
        PARE_BINARY(x - y),
        PARE_BINARY(x* y),
        PARE_BINARY(x / y),
        PARE_BINARY(y < x ? y : x),
        PARE_BINARY(y > x ? y : x),
        PARE_BINARY(std::pow(x, y)),
        PARE_BINARY(x < 0.0F ? y * x : x),
    },
    load<uint8_t>,
    load<int8_t>,
    load<int32_t>,
    [](const uint16_t* src, float* dst, int64_t n) {
      for (int64_t i = 0; i < n; ++i) dst[i] = half_bits_to_float(src[i]);
    },
    [](const uint16_t* src, float* dst, int64_t n) {
      for (int64_t i = 0; i < n; ++i) dst[i] = bfloat16_bits_to_float(src[i]);
    },
    store<uint8_t>,
    store<int8_t>,
    [](const float* src, uint16_t* dst, int64_t n) {
      for (int64_t i = 0; i < n; ++i) dst[i] = float_to_half_bits(src[i]);
    },
    [](const float* src, uint16_t* dst, int64_t n) {
      for (int64_t i = 0; i < n; ++i) dst[i] = float_to_bfloat16_bits(src[i]);
    },
};

}  // namespace pare
