// sparse.h for uint8 by int8, exact: the source as sixteen-bit words, two of whose products
// vpmaddwd adds without saturating.
//
// Words, from the including file, is a vector: load(p), pair(p) (two int8 as words, repeated),
// low(a, b) and high(a, b) (words of a and b in turn, of the even and the odd groups of four), and
// add(sum, words, pair).
#include <immintrin.h>

#include "kernels/gemm/sparse.h"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

// Slots on any instruction set that has vectors of 32 bytes.
inline void sparse_row_bytes(const SparseRowArgs& a) {
  const auto* x = static_cast<const char*>(a.src);
  const auto* places = reinterpret_cast<const __m256i*>(a.places);
  const auto* weights = static_cast<const __m256i*>(a.weights);
  const __m256i other_half = _mm256_set1_epi8(static_cast<char>(0x80));
  const __m256i ones = _mm256_set1_epi16(1);
  const auto half = [&](int64_t at) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + at)));
  };
  for (int64_t i = 0; i < a.slices; ++i) {
    __m256i sums = _mm256_setzero_si256();
    const int64_t end = a.starts[i + 1];
    for (int64_t step = a.starts[i]; step < end; ++step) {
      const int64_t window = a.depths[step];
      const __m256i place = _mm256_load_si256(places + step);
      const __m256i first = _mm256_shuffle_epi8(half(window), place);
      const __m256i second =
          _mm256_shuffle_epi8(half(window + 16), _mm256_xor_si256(place, other_half));
      const __m256i pairs =
          _mm256_maddubs_epi16(_mm256_or_si256(first, second), _mm256_load_si256(weights + step));
      sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, ones));
    }
    auto* out = reinterpret_cast<__m256i*>(static_cast<int32_t*>(a.sums) + i * kSparseSlice);
    _mm256_storeu_si256(out, sums);
  }
}

// One output by N units of rows, two weights at a time.
template <typename Words, int N>
void sparse_rows_words(const SparseRowsArgs& a) {
  constexpr int64_t kRows = N * 2 * V::kLanes;
  const auto* weights = static_cast<const int8_t*>(a.weights);
  const auto* src = static_cast<const int16_t*>(a.src);
  for (int64_t n = 0; n < a.outputs; ++n) {
    auto* out = static_cast<int32_t*>(a.sums) + n * kRows;
    V::I sums[2 * N];
#pragma GCC unroll 12
    for (int i = 0; i < 2 * N; ++i) {
      sums[i] = a.accumulate ? V::load_int(out + i * V::kLanes) : V::zero_int();
    }
    const uint32_t end = a.starts[n + 1];
    for (uint32_t at = a.starts[n]; at < end; at += 2) {
      const V::I pair = Words::pair(weights + at);
      const int16_t* first = src + int64_t{a.depths[at]} * kRows;
      const int16_t* second = src + int64_t{a.depths[at + 1]} * kRows;
#pragma GCC unroll 6
      for (int i = 0; i < N; ++i) {
        const V::I x = Words::load(first + i * 2 * V::kLanes);
        const V::I y = Words::load(second + i * 2 * V::kLanes);
        sums[2 * i] = Words::add(sums[2 * i], Words::low(x, y), pair);
        sums[2 * i + 1] = Words::add(sums[2 * i + 1], Words::high(x, y), pair);
      }
    }
#pragma GCC unroll 12
    for (int i = 0; i < 2 * N; ++i) V::store_int(out + i * V::kLanes, sums[i]);
  }
}

}  // namespace
}  // namespace pare
