// Tiles that multiply groups filling four bytes: four uint8 by four int8, or two bfloat16 by two.
//
// Dot, from the including file, says how: Sum (a vector of sums), A (one broadcast group made
// ready), W (one vector of groups of the panel made ready), and
//   zero(), load(p), store(p, sum)   sums in memory, V::kLanes of four bytes
//   a(dword), w(p)                   from memory
//   add(sum, a, w)
#include "kernels/gemm/tile.h"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

// The first `bytes` bytes at p, the others zero.
inline int32_t load_dword_part(const char* p, int64_t bytes) {
  uint32_t value = 0;
  for (int64_t i = 0; i < bytes; ++i) {
    value |= static_cast<uint32_t>(static_cast<unsigned char>(p[i])) << (8 * i);
  }
  return static_cast<int32_t>(value);
}

inline int32_t load_dword(const char* p) {
  int32_t value;
  __builtin_memcpy(&value, p, 4);
  return value;
}

template <typename Dot, int SrcBytes, int R, int N>
void dword_tile(const TileArgs& t) {
  constexpr int kVectorBytes = V::kLanes * 4;
  constexpr int kAheadBytes = 1024;
  typename Dot::Sum sums[R][N];
  auto* out = static_cast<char*>(t.sums);
  const int64_t out_stride = t.sums_stride * 4;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      sums[r][n] = t.accumulate ? Dot::load(out + r * out_stride + n * kVectorBytes) : Dot::zero();
    }
  }
  const char* rows[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) rows[r] = static_cast<const char*>(t.rows[r]);
  const auto* panel = static_cast<const char*>(t.panel);
  const int64_t bytes = t.k * SrcBytes;
  const int64_t whole = bytes / 4 * 4;
  for (int64_t tap = 0; tap < t.taps; ++tap) {
    int64_t at = t.tap_offsets[tap];
    const int64_t end = at + whole;
    for (; at < end; at += 4) {
      // One row reads each weight once: the panel comes from memory at the speed at which it is
      // asked for, and the hardware alone does not ask early enough.
      if constexpr (R == 1) __builtin_prefetch(panel + kAheadBytes);
      typename Dot::W w[N];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) w[n] = Dot::w(panel + n * kVectorBytes);
      panel += N * kVectorBytes;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const typename Dot::A a = Dot::a(load_dword(rows[r] + at));
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) sums[r][n] = Dot::add(sums[r][n], a, w[n]);
      }
    }
    if (whole < bytes) {
      typename Dot::W w[N];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) w[n] = Dot::w(panel + n * kVectorBytes);
      panel += N * kVectorBytes;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const typename Dot::A a = Dot::a(load_dword_part(rows[r] + at, bytes - whole));
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) sums[r][n] = Dot::add(sums[r][n], a, w[n]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) Dot::store(out + r * out_stride + n * kVectorBytes, sums[r][n]);
  }
}

}  // namespace
}  // namespace pare

#define PARE_DWORD_TILES_2(D, B, R) \
  { dword_tile<D, B, R, 1>, dword_tile<D, B, R, 2> }
#define PARE_DWORD_TILES_4(D, B, R) \
  { dword_tile<D, B, R, 1>, dword_tile<D, B, R, 2>, dword_tile<D, B, R, 3>, dword_tile<D, B, R, 4> }
