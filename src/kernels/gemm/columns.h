// The heart of dense layers whose source is mostly zeros, as it is after a ReLU: weights lie by
// input, one column of n weights for each of the k inputs, and where an input is zero its column is
// never read from memory.
//
//   sums[n] += x[k] * column[k][n] for the inputs that are not zero, k ascending
//
// Four columns at a time, so that sums are read and written once for each four. Several rows take
// turns on a stretch of columns that stays in the cache.
//
// Columns are as long as they can be, since the processor's prefetchers start anew at each: from
// memory to two Zen 3 cores, with a quarter of the columns read, pieces of 256 bytes came to 8
// GB/s, of 1 KB to 11, of 4 KB to 17; all columns, in pieces of 4 KB, to 21.
//
// Plain structs only: included by files compiled for one instruction set.
#ifndef PARE_KERNELS_GEMM_COLUMNS_H_
#define PARE_KERNELS_GEMM_COLUMNS_H_

#include <cstdint>

#include "kernels/gemm/tile.h"

namespace pare {

// Columns are filled with zeros up to whole lines; a piece of them is made of whole lines.
inline constexpr int64_t kColumnLine = 64;  // bytes
// Outputs of a piece at most: their sums stay in the first-level cache.
inline constexpr int64_t kMaxPiece = 4096;

struct ColumnArgs {
  const void* values;    // of the inputs that are not zero: float, or int16 less the zero point
  const int32_t* index;  // which inputs they are, ascending
  int64_t count;
  const char* columns;  // the piece of column 0
  int64_t stride;       // bytes from column to column
  int64_t lines;        // of a piece
  bool fetch;           // the columns come from memory: ask for them early
  // [lines][64 / size of a weight], float or int32, continued. int32 sums stand in an order of
  // their own until put_in_order() has been called.
  void* sums;
};

struct ColumnTiles {
  const TileSet* dense;  // its widen and finish
  void (*add)(const ColumnArgs&);
  void (*put_in_order)(int32_t* sums, int64_t lines);  // nullptr for floats
};

extern const ColumnTiles columns_f32_avx2;
extern const ColumnTiles columns_bf16_avx2;
extern const ColumnTiles columns_f16_avx2;
extern const ColumnTiles columns_u8s8_avx2;
extern const ColumnTiles columns_f32_avx512;
extern const ColumnTiles columns_bf16_avx512;
extern const ColumnTiles columns_f16_avx512;
extern const ColumnTiles columns_u8s8_avx512;
extern const ColumnTiles columns_u8s8_avx512_vnni;

}  // namespace pare

#endif  // PARE_KERNELS_GEMM_COLUMNS_H_
