// VScalar: one float32 lane in plain C++; the names of vec_avx512.h that math.h needs. The
// references run the same sequence of roundings as the vector kernels, so their bits agree.
#ifndef PARE_KERNELS_SIMD_VEC_SCALAR_H_
#define PARE_KERNELS_SIMD_VEC_SCALAR_H_

#include <bit>
#include <cmath>
#include <cstdint>

namespace pare {

struct VScalar {
  using F = float;
  using M = bool;

  static F zero() { return 0.0F; }
  static F set(float v) { return v; }
  static F add(F a, F b) { return a + b; }
  static F sub(F a, F b) { return a - b; }
  static F mul(F a, F b) { return a * b; }
  static F div(F a, F b) { return a / b; }
  static F fma(F a, F b, F c) { return std::fma(a, b, c); }
  static F max(F a, F b) { return a > b ? a : b; }
  static F min(F a, F b) { return a < b ? a : b; }
  static F round(F a) { return std::nearbyint(a); }
  static M less(F a, F b) { return a < b; }
  static F select(M m, F yes, F no) { return m ? yes : no; }
  static F scale_by_power(F v, F n) {
    const uint32_t power =
        std::isnan(n) ? 0U : static_cast<uint32_t>(static_cast<int32_t>(n)) << 23;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(v) + power);
  }
};

}  // namespace pare

#endif  // PARE_KERNELS_SIMD_VEC_SCALAR_H_
