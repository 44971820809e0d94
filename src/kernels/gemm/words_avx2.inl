// Products of uint8 and int8 widened to sixteen bits beforehand, for blocks of many rows: what is left
// inside the loop is one broadcast a row, vpmaddwd and vpaddd, 32 products a cycle where the processor
// starts two multiplications and four instructions each cycle (Zen 3). vpmaddubsw would save the
// widening and a quarter of the additions, but saturates: 255 * 127 * 2 does not fit sixteen bits.
#include "kernels/gemm/tile.h"

namespace pare {
namespace {

template <int R, int N>
void word_tile(const TileArgs& t) {
  __m256i sums[R][N];
  auto* out = static_cast<int32_t*>(t.sums);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      const auto* from = reinterpret_cast<const __m256i*>(out + r * t.sums_stride + n * 8);
      sums[r][n] = t.accumulate ? _mm256_loadu_si256(from) : _mm256_setzero_si256();
    }
  }
  const char* rows[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) rows[r] = static_cast<const char*>(t.rows[r]);
  const auto* panel = static_cast<const __m256i*>(t.panel);
  const int64_t bytes = (t.k + 3) / 4 * 8;
  for (int64_t tap = 0; tap < t.taps; ++tap) {
    int64_t at = t.tap_offsets[tap];
    const int64_t end = at + bytes;
#pragma GCC unroll 2
    for (; at < end; at += 4) {
      __m256i w[N];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) w[n] = _mm256_load_si256(panel + n);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        // Rows of bytes or words begin anywhere; vpbroadcastd minds no alignment.
        int32_t pair;
        __builtin_memcpy(&pair, rows[r] + at, 4);
        const __m256i a = _mm256_set1_epi32(pair);
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) {
          sums[r][n] = _mm256_add_epi32(sums[r][n], _mm256_madd_epi16(a, w[n]));
        }
      }
      panel += N;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      auto* to = reinterpret_cast<__m256i*>(out + r * t.sums_stride + n * 8);
      _mm256_storeu_si256(to, sums[r][n]);
    }
  }
}

void widen_bytes(const uint8_t* src, int16_t* dst, int64_t count) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + i), _mm256_cvtepu8_epi16(bytes));
  }
  for (; i < count; ++i) dst[i] = src[i];
}

void widen_byte_rows(const TileArgs& t, int rows, int16_t* dst) {
  const int64_t stored = (t.k + 3) / 4 * 4;
  for (int r = 0; r < rows; ++r) {
    int16_t* to = dst + r * kWideStride;
    for (int64_t tap = 0; tap < t.taps; ++tap) {
      const auto* from = static_cast<const uint8_t*>(t.rows[r]) + t.tap_offsets[tap];
      const auto widen = [&](int64_t k) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + k));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + k), _mm256_cvtepu8_epi16(bytes));
      };
      int64_t k = 0;
      for (; k + 16 <= t.k; k += 16) widen(k);
      if (k < t.k && t.k >= 16) {
        widen(t.k - 16);  // overlaps what is there already
        k = t.k;
      }
      for (; k < t.k; ++k) to[k] = from[k];
      for (; k < stored; ++k) to[k] = 0;
      to += stored;
    }
  }
}

// Of each group (columns of four bytes) first the columns' bytes 0 and 1, then 2 and 3.
void widen_byte_panel(const void* panel, int64_t groups, int vectors, int16_t* dst) {
  const auto* from = static_cast<const __m128i*>(panel);
  auto* to = reinterpret_cast<__m256i*>(dst);
  for (int64_t g = 0; g < groups; ++g) {
    for (int v = 0; v < vectors; ++v) {
      const __m256 low = _mm256_castsi256_ps(_mm256_cvtepi8_epi16(_mm_loadu_si128(from)));
      const __m256 high = _mm256_castsi256_ps(_mm256_cvtepi8_epi16(_mm_loadu_si128(from + 1)));
      const __m256i first = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0x88));
      const __m256i second = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0xdd));
      _mm256_store_si256(to + v, _mm256_permute4x64_epi64(first, 0xd8));
      _mm256_store_si256(to + vectors + v, _mm256_permute4x64_epi64(second, 0xd8));
      from += 2;
    }
    to += 2 * vectors;
  }
}

#define PARE_WORD_TILES(R) \
  { word_tile<R, 1>, word_tile<R, 2> }

const WideTiles kWordTiles = {8,
                              widen_bytes,
                              widen_byte_rows,
                              widen_byte_panel,
                              {PARE_WORD_TILES(1), PARE_WORD_TILES(2), PARE_WORD_TILES(3),
                               PARE_WORD_TILES(4), PARE_WORD_TILES(5), PARE_WORD_TILES(6)}};

#undef PARE_WORD_TILES

}  // namespace
}  // namespace pare
