// The heart of products and convolutions: one tile of sums, R rows by a panel's width.
//
//   sums[r][n] += sum over taps t, k of  row r's element (t, k) * panel element (t, k, n)
//
// A row is a pointer; element k of tap t stands at pointer + tap_offsets[t] + k * element size. A
// dense layer has one tap; a convolution has one for each kernel row (pixels of a row lie side by
// side) or for each kernel element, and its rows are output pixels: no im2col.
//
// Panels of weights (packed once): the columns are cut into panels of `width`, the last one as
// narrow as it can be in whole vectors; a panel is [taps][k / group, rounded up][width][group],
// zero beyond k and beyond the last column. group is 1 for floats, 2 for bf16dot, 4 for int8.
//
// Sums are continued in memory from one stretch of k to the next, so that a stretch of the panel
// and the rows stay in cache: storing a float32 sum changes nothing, and the order of summation is
// k = 0, 1, ... whatever the stretches.
//
// Plain structs only: included by files compiled for one instruction set.
#ifndef PARE_KERNELS_GEMM_TILE_H_
#define PARE_KERNELS_GEMM_TILE_H_

#include <cstdint>

#include "kernels/epilogue.h"
#include "kernels/simd/stored_type.h"

namespace pare {

inline constexpr int kMaxTileRows = 6;
inline constexpr int kMaxTileVectors = 4;

struct TileArgs {
  const void* const* rows;
  const int64_t* tap_offsets;  // bytes
  int64_t taps;
  int64_t k;  // elements of one tap
  const void* panel;
  void* sums;           // float or int32
  int64_t sums_stride;  // elements
  bool accumulate;      // false: sums start at zero
};

// What becomes of a block of finished sums: epilogue.h.
struct FinishArgs {
  const void* sums;
  int64_t sums_stride;
  int64_t rows;
  int64_t columns;
  const Epilogue* epilogue;
  int64_t first_row;     // of the residual, and of dst
  int64_t first_column;  // of bias, multiplier and residual
  StoredType dst_type;
  void* dst;  // of the whole result
  int64_t dst_stride;
};

// Tiles of operands widened to sixteen bits first, for instruction sets that multiply bytes only
// with saturation (words_avx2.inl). Widening is shared by the rows and columns of a block, so it
// pays from `least_rows` rows on. A tap's elements are read up to the next multiple of the group;
// its weights are zero there.
inline constexpr int64_t kWideDepth = 576;               // k elements at most, of all taps
inline constexpr int64_t kWideStride = kWideDepth + 32;  // from row to row, off a power of two
struct WideTiles {
  int64_t least_rows;
  void (*widen)(const uint8_t* src, int16_t* dst, int64_t count);
  // Rows of bytes, kWideStride elements apart, the taps one after the other.
  void (*widen_rows)(const TileArgs&, int rows, int16_t* dst);
  // `groups` groups of `vectors` vectors: [depth / 2][width][2].
  void (*widen_panel)(const void* panel, int64_t groups, int vectors, int16_t* dst);
  void (*tiles[kMaxTileRows][kMaxTileVectors])(const TileArgs&);  // [rows - 1][vectors - 1]
};

// Tiles of bytes that are at most kByteBound, whose products with int8 vpmaddubsw adds two at a
// time without saturating: 2 * 127 * 128 < 2^15. Three instructions for what takes four when
// widened, and nothing to widen. What a byte has in excess of the bound is multiplied apart, by
// groups of four; behind a ReLU one byte in a hundred has any. For whole groups: k is a multiple of
// four.
inline constexpr int kByteBound = 127;
struct ExcessRow {
  const char* excess;          // lies as the row does
  const int64_t* tap_offsets;  // bytes
  int64_t taps;
  int64_t k;
};
// Words of marks for a tap: a bit for each group of four.
inline int64_t excess_words(int64_t k) { return (k / 4 + 63) / 64; }
struct BoundedTiles {
  int max_rows;
  // Bounds src and writes what is left of each byte, 128 at most. False: nothing is.
  bool (*split)(uint8_t* src, uint8_t* excess, int64_t count);
  // marks[taps][excess_words(k)]: the groups that have some.
  void (*mark)(const ExcessRow&, uint64_t* marks);
  // sums[width] += excess times panel, for the groups marked; [vectors - 1].
  void (*add[kMaxTileVectors])(const ExcessRow&, const uint64_t* marks, const void* panel,
                               void* sums);
  void (*tiles[kMaxTileRows][kMaxTileVectors])(const TileArgs&);  // [rows - 1][vectors - 1]
};

// One row of floats times several whole panels at once, so that enough sums are under way to hide
// the latency of an addition: sums[panel][n] = sum over i of values[i] * panel element (index[i],
// n), i ascending. The elements left out are zero: after a ReLU most are, and their weights are not
// read.
inline constexpr int kRowPanels = 4;
struct RowArgs {
  const float* values;
  const int32_t* index;
  int64_t count;
  const void* panels[kRowPanels];
  float* sums;  // [kRowPanels][width]
};

struct TileSet {
  int max_rows;     // tiles of 1 … max_rows rows
  int lanes;        // columns of a vector
  int max_vectors;  // panels are lanes * max_vectors wide
  int group;
  int src_bytes;      // of one element of a row
  int weight_bytes;   // of one element of a panel
  int64_t task_macs;  // a task should have this many products at least: about two microseconds
  void (*tiles[kMaxTileRows][kMaxTileVectors])(const TileArgs&);  // [rows - 1][vectors - 1]
  void (*finish)(const FinishArgs&);
  // count elements as float32.
  void (*widen)(StoredType type, const void* src, float* dst, int64_t count);
  const WideTiles* wide = nullptr;
  void (*row_panels)(const RowArgs&) = nullptr;
  const BoundedTiles* bounded = nullptr;
};

}  // namespace pare

#endif  // PARE_KERNELS_GEMM_TILE_H_
