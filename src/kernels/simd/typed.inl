// Vectors of V loaded from and stored as any StoredType.
#ifndef PARE_KERNELS_SIMD_TYPED_INL_
#define PARE_KERNELS_SIMD_TYPED_INL_

#include "kernels/simd/stored_type.h"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

// Elements i … i+n-1, n at most V::kLanes; the other lanes are zero.
inline V::F load_typed(StoredType type, const void* src, int64_t i, int64_t n) {
  switch (type) {
    case StoredType::kBFloat16:
      return V::from_bfloat16_n(static_cast<const uint16_t*>(src) + i, n);
    case StoredType::kFloat16:
      return V::from_float16_n(static_cast<const uint16_t*>(src) + i, n);
    case StoredType::kUInt8:
      return V::from_uint8_n(static_cast<const uint8_t*>(src) + i, n);
    case StoredType::kFloat32:
      break;
  }
  return V::load_n(static_cast<const float*>(src) + i, n);
}

// rounding.h's round_clamp(v / scale); a division by 1 changes nothing.
inline V::I round_typed(V::F v, const IntegerRounding& r) {
  if (r.scale != 1.0F) v = V::div(v, V::set(r.scale));
  v = V::round(v);
  v = V::max(v, V::set(static_cast<float>(r.lo - r.zero_point)));
  v = V::min(v, V::set(static_cast<float>(r.hi - r.zero_point)));
  return V::add_int(V::to_int(v), V::set_int(r.zero_point));
}

inline void store_typed(StoredType type, void* dst, int64_t i, V::F v, int64_t n,
                        const IntegerRounding& rounding) {
  switch (type) {
    case StoredType::kFloat32:
      V::store_n(static_cast<float*>(dst) + i, v, n);
      return;
    case StoredType::kBFloat16:
      V::to_bfloat16_n(static_cast<uint16_t*>(dst) + i, v, n);
      return;
    case StoredType::kFloat16:
      V::to_float16_n(static_cast<uint16_t*>(dst) + i, v, n);
      return;
    case StoredType::kUInt8:
      V::to_uint8_n(static_cast<uint8_t*>(dst) + i, round_typed(v, rounding), n);
      return;
  }
}

}  // namespace
}  // namespace pare

#endif  // PARE_KERNELS_SIMD_TYPED_INL_
