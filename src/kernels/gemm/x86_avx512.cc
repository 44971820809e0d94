// Tiles of 6 x 64 on AVX-512: 24 sums in registers, four vectors of the panel and one broadcast.
#include "kernels/gemm/columns_avx512.inl"
#include "kernels/gemm/columns_float.inl"
#include "kernels/gemm/columns_words.inl"
#include "kernels/gemm/finish.inl"
#include "kernels/gemm/sparse_float.inl"
#include "kernels/gemm/sparse_words.inl"
#include "kernels/gemm/tiles_dword.inl"
#include "kernels/gemm/tiles_float.inl"
#include "kernels/gemm/tilesets.h"
#include "kernels/gemm/widen.inl"

namespace pare {

const TileSet tiles_f32_6x64_avx512 = PARE_FLOAT_TILE_SET(WeightsF32, 4);
const TileSet tiles_bf16_6x64_avx512 = PARE_FLOAT_TILE_SET(WeightsBF16, 4);
const TileSet tiles_f16_6x64_avx512 = PARE_FLOAT_TILE_SET(WeightsF16, 4);

namespace {

// Without VNNI: bytes are widened to sixteen bits, where vpmaddwd adds pairs without saturating.
// The even and the odd bytes of a group of four are multiplied apart.
struct DotWords {
  using Sum = __m512i;
  struct A {
    __m512i even, odd;
  };
  using W = A;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Sum load(const void* p) { return _mm512_loadu_si512(p); }
  static void store(void* p, Sum v) { _mm512_storeu_si512(p, v); }
  static A a(int32_t dword) {
    const __m512i bytes = _mm512_set1_epi32(dword);
    return {_mm512_and_si512(bytes, _mm512_set1_epi16(0xff)), _mm512_srli_epi16(bytes, 8)};
  }
  static W w(const void* p) {
    const __m512i bytes = _mm512_loadu_si512(p);
    return {_mm512_srai_epi16(_mm512_slli_epi16(bytes, 8), 8), _mm512_srai_epi16(bytes, 8)};
  }
  static Sum add(Sum sum, const A& a, const W& w) {
    sum = _mm512_add_epi32(sum, _mm512_madd_epi16(a.even, w.even));
    return _mm512_add_epi32(sum, _mm512_madd_epi16(a.odd, w.odd));
  }
};

}  // namespace

const TileSet tiles_u8s8_4x64_avx512 = {
    4,
    16,
    4,
    4,
    1,
    1,
    256 << 10,
    {PARE_DWORD_TILES_4(DotWords, 1, 1), PARE_DWORD_TILES_4(DotWords, 1, 2),
     PARE_DWORD_TILES_4(DotWords, 1, 3), PARE_DWORD_TILES_4(DotWords, 1, 4)},
    finish_block<int32_t>,
    widen_row};

namespace {

struct Words {
  static __m512i load(const int16_t* p) { return _mm512_loadu_si512(p); }
  static __m512i pair(const int8_t* p) {
    int16_t both;
    __builtin_memcpy(&both, p, 2);
    return _mm512_cvtepi8_epi16(_mm256_set1_epi16(both));
  }
  static __m512i low(__m512i a, __m512i b) { return _mm512_unpacklo_epi16(a, b); }
  static __m512i high(__m512i a, __m512i b) { return _mm512_unpackhi_epi16(a, b); }
  static __m512i add(__m512i sum, __m512i words, __m512i pair) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(words, pair));
  }
};

}  // namespace

const SparseTiles sparse_f32_avx512 = {
    &tiles_f32_6x64_avx512,
    16,
    8,
    4,
    1,
    sparse_row_float,
    {sparse_rows_float<1>, sparse_rows_float<2>, sparse_rows_float<3>, sparse_rows_float<4>,
     sparse_rows_float<5>, sparse_rows_float<6>, sparse_rows_float<7>, sparse_rows_float<8>}};
const SparseTiles sparse_u8s8_avx512 = {&tiles_u8s8_4x64_avx512,
                                        32,
                                        4,
                                        2,
                                        2,
                                        sparse_row_bytes,
                                        {sparse_rows_words<Words, 1>, sparse_rows_words<Words, 2>,
                                         sparse_rows_words<Words, 3>, sparse_rows_words<Words, 4>}};

namespace {

struct ColumnWords : ColumnVectors {
  static __m512i add(__m512i sum, __m512i words, __m512i pair) {
    return Words::add(sum, words, pair);
  }
};

}  // namespace

const ColumnTiles columns_f32_avx512 = {&tiles_f32_6x64_avx512, add_float_columns<WeightsF32>,
                                        nullptr};
const ColumnTiles columns_bf16_avx512 = {&tiles_bf16_6x64_avx512, add_float_columns<WeightsBF16>,
                                         nullptr};
const ColumnTiles columns_f16_avx512 = {&tiles_f16_6x64_avx512, add_float_columns<WeightsF16>,
                                        nullptr};
const ColumnTiles columns_u8s8_avx512 = {&tiles_u8s8_4x64_avx512, add_byte_columns<ColumnWords>,
                                         put_words_in_order<ColumnWords>};

}  // namespace pare
