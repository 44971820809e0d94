// Element types as files compiled for one instruction set may name them: plain, no STL.
#ifndef PARE_KERNELS_SIMD_STORED_TYPE_H_
#define PARE_KERNELS_SIMD_STORED_TYPE_H_

#include <cstdint>

namespace pare {

enum class StoredType : uint8_t { kFloat32, kBFloat16, kFloat16, kUInt8 };

// How a float becomes an integer: rounding.h's round_clamp(v / scale).
struct IntegerRounding {
  float scale;
  int32_t zero_point;
  int32_t lo;
  int32_t hi;
};

}  // namespace pare

#endif  // PARE_KERNELS_SIMD_STORED_TYPE_H_
