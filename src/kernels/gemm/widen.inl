// Elements of a row as float32, over the vector type V.
#include "kernels/gemm/tile.h"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

inline V::F widen_vector(StoredType type, const void* src, int64_t i, int64_t n) {
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

void widen_row(StoredType type, const void* src, float* dst, int64_t count) {
  for (int64_t i = 0; i < count; i += V::kLanes) {
    const int64_t n = count - i < V::kLanes ? count - i : V::kLanes;
    V::store_n(dst + i, widen_vector(type, src, i, n), n);
  }
}

}  // namespace
}  // namespace pare
