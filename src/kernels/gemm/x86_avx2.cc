// Tiles of 6 x 16 on AVX2: 12 sums in registers, two vectors of the panel and one broadcast.
#include "kernels/gemm/columns_float.inl"
#include "kernels/gemm/columns_words.inl"
#include "kernels/gemm/finish.inl"
#include "kernels/gemm/sparse_float.inl"
#include "kernels/gemm/sparse_words.inl"
#include "kernels/gemm/tiles_dword.inl"
#include "kernels/gemm/tiles_dword_bounded.inl"
#include "kernels/gemm/tiles_float.inl"
#include "kernels/gemm/tilesets.h"
#include "kernels/gemm/widen.inl"
#include "kernels/gemm/words_avx2.inl"

namespace pare {

const TileSet tiles_f32_6x16_avx2 = PARE_FLOAT_TILE_SET(WeightsF32, 2);
const TileSet tiles_bf16_6x16_avx2 = PARE_FLOAT_TILE_SET(WeightsBF16, 2);
const TileSet tiles_f16_6x16_avx2 = PARE_FLOAT_TILE_SET(WeightsF16, 2);

namespace {

// Bytes are widened to sixteen bits, where vpmaddwd adds pairs without saturating (vpmaddubsw would
// saturate). The even and the odd bytes of a group of four are multiplied apart.
struct DotWords {
  using Sum = __m256i;
  struct A {
    __m256i even, odd;
  };
  using W = A;
  static Sum zero() { return _mm256_setzero_si256(); }
  static Sum load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static void store(void* p, Sum v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
  static A a(int32_t dword) {
    const __m256i bytes = _mm256_set1_epi32(dword);
    return {_mm256_and_si256(bytes, _mm256_set1_epi16(0xff)), _mm256_srli_epi16(bytes, 8)};
  }
  static W w(const void* p) {
    const __m256i bytes = _mm256_loadu_si256(static_cast<const __m256i*>(p));
    return {_mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8), _mm256_srai_epi16(bytes, 8)};
  }
  static Sum add(Sum sum, const A& a, const W& w) {
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a.even, w.even));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a.odd, w.odd));
  }
};

}  // namespace

const TileSet tiles_u8s8_4x16_avx2 = {
    4,
    8,
    2,
    4,
    1,
    1,
    128 << 10,
    {PARE_DWORD_TILES_2(DotWords, 1, 1), PARE_DWORD_TILES_2(DotWords, 1, 2),
     PARE_DWORD_TILES_2(DotWords, 1, 3), PARE_DWORD_TILES_2(DotWords, 1, 4)},
    finish_block<int32_t>,
    widen_row,
    &kWordTiles,
    nullptr,
    &kBoundedTiles};

namespace {

struct Words {
  static __m256i load(const int16_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static __m256i pair(const int8_t* p) {
    int16_t both;
    __builtin_memcpy(&both, p, 2);
    return _mm256_cvtepi8_epi16(_mm_set1_epi16(both));
  }
  static __m256i low(__m256i a, __m256i b) { return _mm256_unpacklo_epi16(a, b); }
  static __m256i high(__m256i a, __m256i b) { return _mm256_unpackhi_epi16(a, b); }
  static __m256i add(__m256i sum, __m256i words, __m256i pair) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(words, pair));
  }
};

}  // namespace

const SparseTiles sparse_f32_avx2 = {
    &tiles_f32_6x16_avx2,
    8,
    12,
    4,
    1,
    sparse_row_float,
    {sparse_rows_float<1>, sparse_rows_float<2>, sparse_rows_float<3>, sparse_rows_float<4>,
     sparse_rows_float<5>, sparse_rows_float<6>, sparse_rows_float<7>, sparse_rows_float<8>,
     sparse_rows_float<9>, sparse_rows_float<10>, sparse_rows_float<11>, sparse_rows_float<12>}};
const SparseTiles sparse_u8s8_avx2 = {&tiles_u8s8_4x16_avx2,
                                      16,
                                      4,
                                      2,
                                      2,
                                      sparse_row_bytes,
                                      {sparse_rows_words<Words, 1>, sparse_rows_words<Words, 2>,
                                       sparse_rows_words<Words, 3>, sparse_rows_words<Words, 4>}};

namespace {

struct ColumnWords {
  static __m256i load(const char* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static __m256i low(__m256i a, __m256i b) { return Words::low(a, b); }
  static __m256i high(__m256i a, __m256i b) { return Words::high(a, b); }
  static __m256i add(__m256i sum, __m256i words, __m256i pair) {
    return Words::add(sum, words, pair);
  }
  static void in_order(__m256i& low, __m256i& high) {
    const __m256i first = _mm256_permute2x128_si256(low, high, 0x20);
    high = _mm256_permute2x128_si256(low, high, 0x31);
    low = first;
  }
};

}  // namespace

const ColumnTiles columns_f32_avx2 = {&tiles_f32_6x16_avx2, add_float_columns<WeightsF32>, nullptr};
const ColumnTiles columns_bf16_avx2 = {&tiles_bf16_6x16_avx2, add_float_columns<WeightsBF16>,
                                       nullptr};
const ColumnTiles columns_f16_avx2 = {&tiles_f16_6x16_avx2, add_float_columns<WeightsF16>, nullptr};
const ColumnTiles columns_u8s8_avx2 = {&tiles_u8s8_4x16_avx2, add_byte_columns<ColumnWords>,
                                       put_words_in_order<ColumnWords>};

}  // namespace pare
