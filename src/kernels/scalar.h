// The scalar forms that the references share: one element loaded, activated, stored.
#ifndef PARE_KERNELS_SCALAR_H_
#define PARE_KERNELS_SCALAR_H_

#include <cstdint>

#include "base/dtype.h"
#include "base/rounding.h"
#include "kernels/epilogue.h"
#include "kernels/simd/math.h"
#include "kernels/simd/vec_scalar.h"

namespace pare {

// The activation of one element, with the roundings of the vector kernels (simd/math.h).
inline float activate(Activation activation, float v, float alpha, float beta) {
  return activate_of<VScalar>(activation, v, alpha, beta);
}

// In blocks of one length, which the compiler turns into vectors.
inline int32_t sum_of_bytes(const int8_t* data, int64_t count) {
  constexpr int64_t kBlock = 64;
  int32_t sum = 0;
  int64_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    int32_t its = 0;
    for (int64_t j = 0; j < kBlock; ++j) its += data[i + j];
    sum += its;
  }
  for (; i < count; ++i) sum += data[i];
  return sum;
}

// Element i of an array of a floating type or of uint8 or int8, as a float.
inline float load_as_float(DType type, const void* data, int64_t i) {
  switch (type) {
    case DType::kFloat32:
      return static_cast<const float*>(data)[i];
    case DType::kFloat16:
      return half_bits_to_float(static_cast<const uint16_t*>(data)[i]);
    case DType::kBFloat16:
      return bfloat16_bits_to_float(static_cast<const uint16_t*>(data)[i]);
    case DType::kUInt8:
      return static_cast<const uint8_t*>(data)[i];
    case DType::kInt8:
      return static_cast<const int8_t*>(data)[i];
    default:
      return 0.0F;
  }
}

// How a float becomes an integer result.
struct Rounding {
  float scale = 1.0F;
  int32_t zero_point = 0;
  int32_t lo = 0;
  int32_t hi = 255;
};

// Writes v as element i of an array of a floating type or uint8.
inline void store_from_float(DType type, void* data, int64_t i, float v, const Rounding& rounding) {
  switch (type) {
    case DType::kFloat16:
      static_cast<uint16_t*>(data)[i] = float_to_half_bits(v);
      return;
    case DType::kBFloat16:
      static_cast<uint16_t*>(data)[i] = float_to_bfloat16_bits(v);
      return;
    case DType::kUInt8:
      static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(
          quantise(v, rounding.scale, rounding.zero_point, rounding.lo, rounding.hi));
      return;
    default:
      static_cast<float*>(data)[i] = v;
      return;
  }
}

// Bytes of one element of a type of whole bytes.
inline int64_t dtype_bytes(DType type) { return dtype_bits(type) / 8; }

// epilogue.h for one element: column n of row m, which is element i of dst. `v` is the value after
// the bias (float product) or the multiplier (integer product).
inline void finish_element(const Epilogue& e, DType dst_type, void* dst, int64_t i, int64_t m,
                           int64_t n, float v) {
  if (e.residual != nullptr) v += e.residual[m * e.residual_stride + n];
  v = activate(e.activation, v, e.alpha, e.beta);
  store_from_float(dst_type, dst, i, v, {e.out_scale, e.out_zero_point, e.out_lo, e.out_hi});
}

inline float start_float(const Epilogue& e, int64_t n, float acc) {
  return e.bias == nullptr ? acc : acc + e.bias[n];
}

inline float start_integer(const Epilogue& e, int64_t n, int32_t acc) {
  if (e.int_bias != nullptr) acc += e.int_bias[n];
  const float v = static_cast<float>(acc) * e.multiplier[n];
  return e.bias == nullptr ? v : v + e.bias[n];
}

}  // namespace pare

#endif  // PARE_KERNELS_SCALAR_H_
