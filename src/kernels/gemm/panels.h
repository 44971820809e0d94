// Weights packed into panels, and the product of rows with one panel (tile.h).
#ifndef PARE_KERNELS_GEMM_PANELS_H_
#define PARE_KERNELS_GEMM_PANELS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/cache_line.h"
#include "base/dtype.h"
#include "base/thread_pool.h"
#include "kernels/gemm/tile.h"

namespace pare {

// Columns and depth of packed weights, and where their panels lie.
struct PanelLayout {
  const TileSet* tiles = nullptr;
  int64_t columns = 0;
  int64_t taps = 1;
  int64_t k = 0;  // elements of one tap

  int64_t width() const { return tiles->lanes * tiles->max_vectors; }
  int64_t panels() const { return (columns + width() - 1) / width(); }
  int64_t stored_k() const { return (k + tiles->group - 1) / tiles->group * tiles->group; }
  // Columns of the graph in panel p, and those stored: whole vectors.
  int64_t panel_columns(int64_t p) const { return std::min(width(), columns - p * width()); }
  int64_t panel_vectors(int64_t p) const {
    return (panel_columns(p) + tiles->lanes - 1) / tiles->lanes;
  }
  int64_t panel_offset(int64_t p) const {  // bytes
    return p * width() * taps * stored_k() * tiles->weight_bytes;
  }
  int64_t bytes() const {
    if (columns == 0) return 0;
    const int64_t last = panels() - 1;
    return panel_offset(last) +
           panel_vectors(last) * tiles->lanes * taps * stored_k() * tiles->weight_bytes;
  }
};

// Fills `packed` with weights(column, tap, k), of type T (of tiles->weight_bytes).
template <typename T, typename Weights>
void pack_panels(const PanelLayout& layout, std::byte* packed, Weights&& weights) {
  const int64_t group = layout.tiles->group;
  auto* dst = reinterpret_cast<T*>(packed);
  for (int64_t p = 0; p < layout.panels(); ++p) {
    const int64_t first = p * layout.width();
    const int64_t columns = layout.panel_columns(p);
    const int64_t beyond = (layout.panel_vectors(p) * layout.tiles->lanes - columns) * group;
    for (int64_t tap = 0; tap < layout.taps; ++tap) {
      for (int64_t k = 0; k < layout.k; k += group) {
        const int64_t whole = std::min(group, layout.k - k);
        for (int64_t c = first; c < first + columns; ++c) {
          for (int64_t g = 0; g < whole; ++g) *dst++ = weights(c, tap, k + g);
          for (int64_t g = whole; g < group; ++g) *dst++ = T{};
        }
        dst = std::fill_n(dst, beyond, T{});
      }
    }
  }
}

// The left-hand side of a product: rows and the taps' offsets (tile.h).
struct PanelRows {
  const void* const* rows = nullptr;
  int64_t count = 0;
  const int64_t* tap_offsets = nullptr;
  bool wide = false;        // sixteen-bit elements, for TileSet::wide; offsets are theirs
  bool bounded = false;     // bytes for TileSet::bounded
  bool accumulate = false;  // sums are continued
};

// sums[count][panel_columns(p), rounded up to whole vectors] = rows times panel p, `sums_stride`
// elements of four bytes from row to row.
void multiply_panel(const PanelLayout& layout, const std::byte* packed, int64_t p,
                    const PanelRows& rows, void* sums, int64_t sums_stride);

// dst[c][r] = src[r][c] for rows x columns elements of four bytes, four by four.
void transpose_floats(const float* src, int64_t src_stride, int64_t rows, int64_t columns,
                      float* dst, int64_t dst_stride);

// Packs one tap of float32 weights quickly, for products of activations: element (k, column) stands
// at src + k * stride + column, or with `transposed` at src + column * stride + k.
void pack_floats(const PanelLayout& layout, const float* src, int64_t stride, bool transposed,
                 std::byte* packed);

// `count` rows of k sixteen-bit floats, `row_bytes` apart, as float32 without gaps in `dst`.
void widen_source(const TileSet& tiles, DType type, const std::byte* src, int64_t row_bytes,
                  int64_t count, int64_t k, float* dst, ThreadPool& pool);

// How a product of m rows is cut into tasks: blocks of rows by blocks of panels. A function of the
// sizes alone.
struct TaskGrid {
  int64_t row_blocks = 0;
  int64_t panel_blocks = 0;
  int64_t rows = 0;
  int64_t panels = 0;

  int64_t tasks() const { return row_blocks * panel_blocks; }
  // The range of rows or panels of block i: as even as can be.
  int64_t first_row(int64_t i) const { return rows * i / row_blocks; }
  int64_t first_panel(int64_t i) const { return panels * i / panel_blocks; }
};
inline constexpr int64_t kMaxBlockRows = 96;
TaskGrid cut_tasks(const PanelLayout& layout, int64_t rows);

// Rows of bytes widened to sixteen bits once for all panels, where the tiles have WideTiles: again
// for each panel, it was a seventh of the time of ViTs in int8. Each task widens its own, unless it
// has a single panel: then all rows are widened before the tasks begin.
struct WideRows {
  const WideTiles* tiles = nullptr;  // nullptr: rows stay as they are
  int64_t k = 0;
  int64_t stride = 0;  // elements
  bool by_task = false;
  int64_t bytes = 0;  // of scratch, for each worker if by_task

  // For rows of k elements, of which a task has as many as `grid` gives it.
  static WideRows of(const TileSet& tiles, const TaskGrid& grid, int64_t k);
  int64_t scratch_bytes(int threads) const { return by_task ? threads * bytes : bytes; }
  // Widens `count` rows into `scratch` and points to them there.
  void widen(const void** rows, int64_t count, std::byte* scratch) const;
  // Widens `count` rows that lie `row_bytes` apart, whole rows a task.
  void widen_all(const std::byte* src, int64_t row_bytes, int64_t count, std::byte* scratch,
                 ThreadPool& pool) const;
};

// The type as tile.h names it; uint8 and the floats up to 32 bits have one.
StoredType stored_type(DType type);

}  // namespace pare

#endif  // PARE_KERNELS_GEMM_PANELS_H_
