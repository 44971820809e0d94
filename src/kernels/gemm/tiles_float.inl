// Tiles of float32 sums over the vector type V.
#include "kernels/gemm/tile.h"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

struct WeightsF32 {
  using T = float;
  static V::F load(const T* p) { return V::load(p); }
};
struct WeightsBF16 {
  using T = uint16_t;
  static V::F load(const T* p) { return V::from_bfloat16(p); }
};
struct WeightsF16 {
  using T = uint16_t;
  static V::F load(const T* p) { return V::from_float16(p); }
};

template <typename Weights, int R, int N>
void float_tile(const TileArgs& t) {
  V::F sums[R][N];
  auto* out = static_cast<float*>(t.sums);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      sums[r][n] = t.accumulate ? V::load(out + r * t.sums_stride + n * V::kLanes) : V::zero();
    }
  }
  const char* rows[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) rows[r] = static_cast<const char*>(t.rows[r]);
  const auto* panel = static_cast<const typename Weights::T*>(t.panel);
  for (int64_t tap = 0; tap < t.taps; ++tap) {
    int64_t at = t.tap_offsets[tap];
    const int64_t end = at + t.k * 4;
    for (; at < end; at += 4) {
      V::F w[N];
      __builtin_prefetch(reinterpret_cast<const char*>(panel) + 1024);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) w[n] = Weights::load(panel + n * V::kLanes);
      panel += N * V::kLanes;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const V::F a = V::broadcast(rows[r] + at);
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) sums[r][n] = V::fma(a, w[n], sums[r][n]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) V::store(out + r * t.sums_stride + n * V::kLanes, sums[r][n]);
  }
}

template <typename Weights, int N>
void float_row(const RowArgs& a) {
  constexpr int64_t kAhead = 12;  // rows of the panels asked for before they are needed
  constexpr int64_t kLine = 64 / sizeof(typename Weights::T);
  V::F sums[kRowPanels][N];
#pragma GCC unroll 8
  for (int p = 0; p < kRowPanels; ++p) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) sums[p][n] = V::zero();
  }
  const typename Weights::T* panels[kRowPanels];
#pragma GCC unroll 8
  for (int p = 0; p < kRowPanels; ++p) {
    panels[p] = static_cast<const typename Weights::T*>(a.panels[p]);
  }
  for (int64_t i = 0; i < a.count; ++i) {
    const V::F value = V::broadcast(a.values + i);
    const int64_t at = int64_t{a.index[i]} * (N * V::kLanes);
    const int64_t later = i + kAhead < a.count ? i + kAhead : a.count - 1;
    const int64_t next = int64_t{a.index[later]} * (N * V::kLanes);
#pragma GCC unroll 8
    for (int p = 0; p < kRowPanels; ++p) {
#pragma GCC unroll 8
      for (int64_t line = 0; line < N * V::kLanes; line += kLine) {
        __builtin_prefetch(panels[p] + next + line);
      }
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) {
        const V::F w = Weights::load(panels[p] + at + n * V::kLanes);
        sums[p][n] = V::fma(value, w, sums[p][n]);
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < kRowPanels; ++p) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) V::store(a.sums + (p * N + n) * V::kLanes, sums[p][n]);
  }
}

}  // namespace
}  // namespace pare

// One row of TileSet::tiles.
#define PARE_FLOAT_TILES_2(W, R) \
  { float_tile<W, R, 1>, float_tile<W, R, 2> }
#define PARE_FLOAT_TILES_4(W, R) \
  { float_tile<W, R, 1>, float_tile<W, R, 2>, float_tile<W, R, 3>, float_tile<W, R, 4> }

// The tiles of six rows by N vectors.
#define PARE_FLOAT_TILE_SET(W, N)                                                                  \
  {                                                                                                \
    .max_rows = 6, .lanes = V::kLanes, .max_vectors = N, .group = 1, .src_bytes = 4,               \
    .weight_bytes = sizeof(W::T), .task_macs = 128 << 10,                                          \
    .tiles = {PARE_FLOAT_TILES_##N(W, 1), PARE_FLOAT_TILES_##N(W, 2), PARE_FLOAT_TILES_##N(W, 3),  \
              PARE_FLOAT_TILES_##N(W, 4), PARE_FLOAT_TILES_##N(W, 5), PARE_FLOAT_TILES_##N(W, 6)}, \
    .finish = finish_block<float>, .widen = widen_row, .row_panels = float_row<W, N>               \
  }
