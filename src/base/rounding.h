// The one rounding rule. The trainer's fake quantisation, the compression passes and every integer
// kernel use these functions or reproduce them bit for bit.
//
//   quantise    q = clamp(rint(x / scale) + zero_point, lo, hi)         (ONNX QuantizeLinear)
//   dequantise  x = (q - zero_point) * scale                            (ONNX DequantizeLinear)
//   requantise  q = clamp(rint(float(acc) * multiplier) + zero_point, lo, hi)
//               multiplier = (x_scale * w_scale) / y_scale, each operation in float32, in that
//               order
//
// rint is rounding to nearest, ties to even, which is the default mode of every processor and what
// AVX2 and AVX-512 conversions do. float(acc) rounds to nearest even above 2^24. The clamp happens
// in float before the conversion to an integer, so that no value overflows; a NaN becomes `lo`.
#ifndef PARE_BASE_ROUNDING_H_
#define PARE_BASE_ROUNDING_H_

#include <cmath>
#include <cstdint>

namespace pare {

inline int32_t round_clamp(float scaled, int32_t zero_point, int32_t lo, int32_t hi) {
  const auto low = static_cast<float>(lo - zero_point);
  const auto high = static_cast<float>(hi - zero_point);
  float r = std::nearbyintf(scaled);
  r = r > low ? r : low;
  r = r < high ? r : high;
  return static_cast<int32_t>(r) + zero_point;
}

inline int32_t quantise(float x, float scale, int32_t zero_point, int32_t lo, int32_t hi) {
  return round_clamp(x / scale, zero_point, lo, hi);
}

inline float dequantise(int32_t q, float scale, int32_t zero_point) {
  return static_cast<float>(q - zero_point) * scale;
}

inline float requantise_multiplier(float x_scale, float w_scale, float y_scale) {
  return (x_scale * w_scale) / y_scale;
}

inline int32_t requantise(int32_t acc, float multiplier, int32_t zero_point, int32_t lo,
                          int32_t hi) {
  return round_clamp(static_cast<float>(acc) * multiplier, zero_point, lo, hi);
}

}  // namespace pare

#endif  // PARE_BASE_ROUNDING_H_
