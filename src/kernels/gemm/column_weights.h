// Weights packed by input (columns.h), and the panels made of a block of them.
#ifndef PARE_KERNELS_GEMM_COLUMN_WEIGHTS_H_
#define PARE_KERNELS_GEMM_COLUMN_WEIGHTS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/gemm/columns.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/panels.h"
#include "kernels/scalar.h"

namespace pare {

// Packed: [k][n, filled with zeros to whole lines], then
//   floats   [k] bytes: 1 where a column holds what times zero is not zero (infinity or NaN)
//   int8     [n] int32: the sum of each output's weights
struct ColumnLayout {
  int64_t n = 0;
  int64_t k = 0;
  DType type = DType::kFloat32;

  int64_t weight_bytes() const { return dtype_bytes(type); }
  int64_t line_outputs() const { return kColumnLine / weight_bytes(); }
  int64_t lines() const { return (n + line_outputs() - 1) / line_outputs(); }
  // Bytes from column to column: an odd number of lines, since the same lines of columns a power of
  // two apart would push each other out of the cache.
  int64_t stride() const { return (lines() | 1) * kColumnLine; }
  int64_t tail_offset() const { return k * stride(); }
  int64_t bytes() const { return tail_offset() + round_up_64(type == DType::kInt8 ? n * 4 : k); }
};

void pack_columns(const ColumnLayout& layout, const GemmWeights& weights, std::byte* packed);
// [K,N] again.
void unpack_columns(const ColumnLayout& layout, const std::byte* packed, std::byte* dense);

// The columns [first_k, first_k + depth), and of them the outputs from `first` on, a multiple of a
// line's.
struct ColumnBlock {
  int64_t first = 0;
  int64_t outputs = 0;
  int64_t first_k = 0;
  int64_t depth = 0;
};
// Bytes, as panels for tiles whose group is four (tile.h).
void columns_to_quads(const ColumnLayout& layout, const std::byte* packed, const ColumnBlock& block,
                      const PanelLayout& panels, std::byte* dst);

// Asks for the columns [from, to) of a block.
void prefetch_columns(const ColumnLayout& layout, const std::byte* packed, const ColumnBlock& block,
                      int64_t from, int64_t to);

}  // namespace pare

#endif  // PARE_KERNELS_GEMM_COLUMN_WEIGHTS_H_
