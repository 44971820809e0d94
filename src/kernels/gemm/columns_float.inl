// columns.h for weights of floating types over the vector type V and the Weights of
// tiles_float.inl.
#include "kernels/gemm/columns_ahead.h"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

// `kColumns` columns from i on.
template <typename Weights, int kColumns>
void add_float_columns(const ColumnArgs& a, int64_t i, const FourColumns& ahead) {
  using T = typename Weights::T;
  constexpr int kVectors = kColumnLine / sizeof(T) / V::kLanes;
  const FourColumns c = four_columns(a, i);
  V::F x[kColumns];
#pragma GCC unroll 4
  for (int j = 0; j < kColumns; ++j)
    x[j] = V::broadcast(static_cast<const float*>(a.values) + i + j);
  auto* sums = static_cast<float*>(a.sums);
  for (int64_t line = 0; line < a.lines; ++line) {
    const int64_t offset = line * kColumnLine;
    if (a.fetch) prefetch(ahead, offset);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      V::F sum = V::load(sums + v * V::kLanes);
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) {
        const auto* w = reinterpret_cast<const T*>(c.at[j] + offset) + v * V::kLanes;
        sum = V::fma(x[j], Weights::load(w), sum);
      }
      V::store(sums + v * V::kLanes, sum);
    }
    sums += kVectors * V::kLanes;
  }
}

template <typename Weights>
void add_float_columns(const ColumnArgs& a) {
  const int64_t ahead = columns_ahead(a);
  int64_t i = 0;
  for (; i + kColumnsTogether <= a.count; i += kColumnsTogether) {
    add_float_columns<Weights, kColumnsTogether>(a, i, four_columns(a, i + ahead));
  }
  for (; i < a.count; ++i) add_float_columns<Weights, 1>(a, i, four_columns(a, i));
}

}  // namespace
}  // namespace pare
