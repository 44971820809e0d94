// BoundedTiles of tile.h over vectors of 32 bytes, by the tiles of tiles_dword.inl, which the
// including file includes first.
#include "kernels/gemm/tile.h"

namespace pare {
namespace {

// Four products in three instructions, exact for bytes of at most 128: two of them in sixteen bits.
struct DotBoundedBytes {
  using Sum = __m256i;
  using A = __m256i;
  using W = __m256i;
  static Sum zero() { return _mm256_setzero_si256(); }
  static Sum load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static void store(void* p, Sum v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
  static A a(int32_t dword) { return _mm256_set1_epi32(dword); }
  static W w(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static Sum add(Sum sum, A a, W w) {
    const __m256i pairs = _mm256_maddubs_epi16(a, w);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

bool split_bytes(uint8_t* src, uint8_t* excess, int64_t count) {
  const __m256i bound = _mm256_set1_epi8(kByteBound);
  __m256i any = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    auto* at = reinterpret_cast<__m256i*>(src + i);
    const __m256i bytes = _mm256_loadu_si256(at);
    const __m256i rest = _mm256_subs_epu8(bytes, bound);
    _mm256_storeu_si256(at, _mm256_min_epu8(bytes, bound));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(excess + i), rest);
    any = _mm256_or_si256(any, rest);
  }
  bool found = _mm256_testz_si256(any, any) == 0;
  for (; i < count; ++i) {
    excess[i] = static_cast<uint8_t>(src[i] > kByteBound ? src[i] - kByteBound : 0);
    src[i] = static_cast<uint8_t>(src[i] - excess[i]);
    found = found || excess[i] != 0;
  }
  return found;
}

void mark_excess(const ExcessRow& row, uint64_t* marks) {
  const int64_t words = excess_words(row.k);
  const int64_t groups = row.k / 4;
  for (int64_t tap = 0; tap < row.taps; ++tap, marks += words) {
    const char* at = row.excess + row.tap_offsets[tap];
    for (int64_t word = 0; word < words; ++word) marks[word] = 0;
    int64_t g = 0;
    for (; g + 8 <= groups; g += 8) {
      const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 4 * g));
      const __m256i none = _mm256_cmpeq_epi32(bytes, _mm256_setzero_si256());
      const auto some =
          static_cast<uint64_t>(~_mm256_movemask_ps(_mm256_castsi256_ps(none)) & 0xff);
      marks[g / 64] |= some << (g % 64);
    }
    for (; g < groups; ++g) {
      if (load_dword(at + 4 * g) != 0) marks[g / 64] |= uint64_t{1} << (g % 64);
    }
  }
}

template <int N>
void add_excess(const ExcessRow& row, const uint64_t* marks, const void* panel, void* sums) {
  using Dot = DotBoundedBytes;
  Dot::Sum s[N];
  auto* out = static_cast<char*>(sums);
#pragma GCC unroll 2
  for (int n = 0; n < N; ++n) s[n] = Dot::load(out + n * 32);
  const int64_t words = excess_words(row.k);
  const auto* weights = static_cast<const char*>(panel);
  for (int64_t tap = 0; tap < row.taps; ++tap) {
    const char* at = row.excess + row.tap_offsets[tap];
    for (int64_t word = 0; word < words; ++word) {
      for (uint64_t left = *marks++; left != 0; left &= left - 1) {
        const int64_t g = word * 64 + __builtin_ctzll(left);
        const Dot::A a = Dot::a(load_dword(at + 4 * g));
        const char* w = weights + g * (N * 32);
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) s[n] = Dot::add(s[n], a, Dot::w(w + n * 32));
      }
    }
    weights += row.k / 4 * (N * 32);
  }
#pragma GCC unroll 2
  for (int n = 0; n < N; ++n) Dot::store(out + n * 32, s[n]);
}

const BoundedTiles kBoundedTiles = {
    5,
    split_bytes,
    mark_excess,
    {add_excess<1>, add_excess<2>},
    {PARE_DWORD_TILES_2(DotBoundedBytes, 1, 1), PARE_DWORD_TILES_2(DotBoundedBytes, 1, 2),
     PARE_DWORD_TILES_2(DotBoundedBytes, 1, 3), PARE_DWORD_TILES_2(DotBoundedBytes, 1, 4),
     PARE_DWORD_TILES_2(DotBoundedBytes, 1, 5)}};

}  // namespace
}  // namespace pare
