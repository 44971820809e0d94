// Tiles of 6 x 64 on bfloat16 pairs: vdpbf16ps adds two products to each float32 sum. It flushes
// subnormal numbers and rounds as it likes between the two: not bit-equal to the other float tiles.
#include "kernels/gemm/finish.inl"
#include "kernels/gemm/tiles_dword.inl"
#include "kernels/gemm/tilesets.h"
#include "kernels/gemm/widen.inl"

namespace pare {
namespace {

struct DotPairs {
  using Sum = __m512;
  using A = __m512i;
  using W = __m512i;
  static Sum zero() { return _mm512_setzero_ps(); }
  static Sum load(const void* p) { return _mm512_loadu_ps(p); }
  static void store(void* p, Sum v) { _mm512_storeu_ps(p, v); }
  static A a(int32_t dword) { return _mm512_set1_epi32(dword); }
  static W w(const void* p) { return _mm512_loadu_si512(p); }
  static Sum add(Sum sum, A a, W w) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(a));
  }
};

}  // namespace

const TileSet tiles_bf16dot_6x64_avx512_bf16 = {
    6,
    16,
    4,
    2,
    2,
    2,
    256 << 10,
    {PARE_DWORD_TILES_4(DotPairs, 2, 1), PARE_DWORD_TILES_4(DotPairs, 2, 2),
     PARE_DWORD_TILES_4(DotPairs, 2, 3), PARE_DWORD_TILES_4(DotPairs, 2, 4),
     PARE_DWORD_TILES_4(DotPairs, 2, 5), PARE_DWORD_TILES_4(DotPairs, 2, 6)},
    finish_block<float>,
    widen_row};

}  // namespace pare
