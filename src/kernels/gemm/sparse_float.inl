// sparse.h for float32 over the vector type V.
#include <immintrin.h>

#include "kernels/gemm/sparse.h"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

// Eight loads put together take 8.3 cycles on Zen 3, a
// gathering instruction 12.6.
inline __m256 gather(const float* x, const uint16_t* at) {
  __m128 half[2];
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    half[i] = _mm_load_ss(x + at[4 * i]);
    half[i] = _mm_insert_ps(half[i], _mm_load_ss(x + at[4 * i + 1]), 0x10);
    half[i] = _mm_insert_ps(half[i], _mm_load_ss(x + at[4 * i + 2]), 0x20);
    half[i] = _mm_insert_ps(half[i], _mm_load_ss(x + at[4 * i + 3]), 0x30);
  }
  return _mm256_set_m128(half[1], half[0]);
}

inline void sparse_row_float(const SparseRowArgs& a) {
  const auto* x = static_cast<const float*>(a.src);
  const auto* weights = static_cast<const float*>(a.weights);
  for (int64_t i = 0; i < a.slices; ++i) {
    __m256 sums = _mm256_setzero_ps();
    const int64_t end = int64_t{a.starts[i + 1]} * kSparseSlice;
    for (int64_t at = int64_t{a.starts[i]} * kSparseSlice; at < end; at += kSparseSlice) {
      sums = _mm256_fmadd_ps(_mm256_loadu_ps(weights + at), gather(x, a.depths + at), sums);
    }
    _mm256_storeu_ps(static_cast<float*>(a.sums) + i * kSparseSlice, sums);
  }
}

template <int N>
inline void add_weight(const SparseRowsArgs& a, uint32_t at, V::F (&sums)[N]) {
  const V::F w = V::broadcast(static_cast<const float*>(a.weights) + at);
  const float* src = static_cast<const float*>(a.src) + int64_t{a.depths[at]} * (N * V::kLanes);
#pragma GCC unroll 12
  for (int i = 0; i < N; ++i) sums[i] = V::fma(w, V::load(src + i * V::kLanes), sums[i]);
}

// R outputs at once by N vectors of rows: as long as all have weights left, then one by one. With
// fewer than eight sums under way each would wait for its last addition.
template <int R, int N>
inline void sparse_outputs(const SparseRowsArgs& a, int64_t first) {
  V::F sums[R][N];
  auto* out = static_cast<float*>(a.sums) + first * (N * V::kLanes);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < N; ++i) {
      sums[r][i] = a.accumulate ? V::load(out + (r * N + i) * V::kLanes) : V::zero();
    }
  }
  uint32_t at[R];
  uint32_t together = a.starts[first + 1] - a.starts[first];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    at[r] = a.starts[first + r];
    const uint32_t count = a.starts[first + r + 1] - at[r];
    together = count < together ? count : together;
  }
  for (uint32_t i = 0; i < together; ++i) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) add_weight<N>(a, at[r] + i, sums[r]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    for (uint32_t i = at[r] + together; i < a.starts[first + r + 1]; ++i) {
      add_weight<N>(a, i, sums[r]);
    }
#pragma GCC unroll 12
    for (int i = 0; i < N; ++i) V::store(out + (r * N + i) * V::kLanes, sums[r][i]);
  }
}

template <int N>
void sparse_rows_float(const SparseRowsArgs& a) {
  constexpr int kTogether = N <= 2 ? 4 : (N <= 4 ? 2 : 1);
  int64_t n = 0;
  for (; n + kTogether <= a.outputs; n += kTogether) sparse_outputs<kTogether, N>(a, n);
  for (; n < a.outputs; ++n) sparse_outputs<1, N>(a, n);
}

}  // namespace
}  // namespace pare
