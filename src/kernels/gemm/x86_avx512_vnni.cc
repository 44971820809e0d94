// Tiles of 6 x 64 with VNNI: vpdpbusd adds four products of uint8 and int8 to each int32 sum,
// exactly.
#include "kernels/gemm/columns_avx512.inl"
#include "kernels/gemm/columns_words.inl"
#include "kernels/gemm/finish.inl"
#include "kernels/gemm/tiles_dword.inl"
#include "kernels/gemm/tilesets.h"
#include "kernels/gemm/widen.inl"

namespace pare {
namespace {

struct DotBytes {
  using Sum = __m512i;
  using A = __m512i;
  using W = __m512i;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Sum load(const void* p) { return _mm512_loadu_si512(p); }
  static void store(void* p, Sum v) { _mm512_storeu_si512(p, v); }
  static A a(int32_t dword) { return _mm512_set1_epi32(dword); }
  static W w(const void* p) { return _mm512_loadu_si512(p); }
  static Sum add(Sum sum, A a, W w) { return _mm512_dpbusd_epi32(sum, a, w); }
};

}  // namespace

const TileSet tiles_u8s8_6x64_avx512_vnni = {
    6,
    16,
    4,
    4,
    1,
    1,
    512 << 10,
    {PARE_DWORD_TILES_4(DotBytes, 1, 1), PARE_DWORD_TILES_4(DotBytes, 1, 2),
     PARE_DWORD_TILES_4(DotBytes, 1, 3), PARE_DWORD_TILES_4(DotBytes, 1, 4),
     PARE_DWORD_TILES_4(DotBytes, 1, 5), PARE_DWORD_TILES_4(DotBytes, 1, 6)},
    finish_block<int32_t>,
    widen_row};

namespace {

struct ColumnWords : ColumnVectors {
  static __m512i add(__m512i sum, __m512i words, __m512i pair) {
    return _mm512_dpwssd_epi32(sum, words, pair);
  }
};

}  // namespace

const ColumnTiles columns_u8s8_avx512_vnni = {
    &tiles_u8s8_6x64_avx512_vnni, add_byte_columns<ColumnWords>, put_words_in_order<ColumnWords>};

}  // namespace pare
