// Elements of a row as float32, over the vector type V.
#include "kernels/gemm/tile.h"
#include "kernels/simd/typed.inl"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

void widen_row(StoredType type, const void* src, float* dst, int64_t count) {
  for (int64_t i = 0; i < count; i += V::kLanes) {
    const int64_t n = count - i < V::kLanes ? count - i : V::kLanes;
    V::store_n(dst + i, load_typed(type, src, i, n), n);
  }
}

}  // namespace
}  // namespace pare
