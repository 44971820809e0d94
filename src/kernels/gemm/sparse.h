// The heart of products with weights of which many are zero: only those that are not are stored,
// twice, since one row and many rows of the source want them in different orders
// (sparse_weights.h).
//
//   one row     an output is the sum of w[n,k] * x[k] over its own weights: floats by lists, bytes
//               by slots (sparse_slots.h).
//   many rows   the source is transposed, so that one weight w[n,k] meets all rows in vectors:
//               sums[n][rows] += w[n,k] * src[k][rows], k ascending. Zero weights cost nothing.
//
// Either way an output element is one chain of fused multiply-adds in the order of k, as everywhere
// in this family; a zero left out would have added nothing.
//
// Plain structs only: included by files compiled for one instruction set.
#ifndef PARE_KERNELS_GEMM_SPARSE_H_
#define PARE_KERNELS_GEMM_SPARSE_H_

#include <cstdint>

#include "kernels/gemm/tile.h"

namespace pare {

// Many rows: a place in a stretch is one byte.
inline constexpr int64_t kSparseStretch = 256;  // k of a stretch
inline constexpr int64_t kSparseBlock = 256;    // outputs of a block, at most
inline constexpr int64_t kSparseMaxRows = 128;
inline constexpr int kSparseMaxUnits = 12;

// Outputs of a slice; slots of a step, and the inputs that they choose from.
inline constexpr int kSparseSlice = 8;
inline constexpr int kSlotBytes = 32;
inline constexpr int kSlotWindow = 32;

// One row. Outputs come in slices of eight. Floats: their lists are as long as the longest of them
// and stand side by side, the shorter ones end with zeros. Bytes: slots.
struct SparseRowArgs {
  const void* src;  // [k], float or uint8; bytes: kSlotWindow more may be read
  int64_t slices;
  const uint32_t* starts;  // slice i has the steps starts[i] … starts[i + 1] - 1
  const uint16_t*
      depths;  // floats: [steps][kSparseSlice], k ascending; bytes: [steps], the window's first
  const uint8_t* places;  // bytes: [steps][kSlotBytes]
  const void* weights;    // float [steps][kSparseSlice] or int8 [steps][kSlotBytes]
  void* sums;             // [slices][kSparseSlice], float or int32
};

struct SparseRowsArgs {
  const void* src;  // one stretch, [kSparseStretch][rows], float or int16; rows fills whole units
  int64_t outputs;
  const uint32_t* starts;  // output n has the weights starts[n] … starts[n + 1] - 1
  const uint8_t* depths;   // their k within the stretch, ascending
  const void* weights;     // float or int8
  void* sums;              // [outputs][rows], float or int32; integers: see SparseTiles::row_unit
  bool accumulate;         // false: sums start at zero
};

struct SparseTiles {
  const TileSet* dense;  // its lanes, finish and widen
  // Rows of the source come in whole units: a vector of floats, or a vector of int16, whose sums
  // are two vectors: the even groups of four rows, then the odd ones (unpacking interleaves them).
  int row_unit;
  int max_units;
  int src_bytes;  // of an element of the transposed source: 4, or 2 for int16
  int pairs;      // an output's weights in a stretch come in multiples of this
  void (*row)(const SparseRowArgs&);
  void (*rows[kSparseMaxUnits])(const SparseRowsArgs&);  // [units - 1]
};

extern const SparseTiles sparse_f32_avx2;
extern const SparseTiles sparse_u8s8_avx2;
extern const SparseTiles sparse_f32_avx512;
extern const SparseTiles sparse_u8s8_avx512;

}  // namespace pare

#endif  // PARE_KERNELS_GEMM_SPARSE_H_
