#include "kernels/gemm/panels.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace pare {
namespace {

// A stretch of a panel that stays in the second-level cache (256 KB at least) beside the rows while
// all rows pass over it.
constexpr int64_t kStretchBytes = 128 << 10;

// Columns of the widest panel of tiles that are widened.
constexpr int64_t kWideWidth = 16;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// One stretch: `taps` whole taps from `tap` on, or k elements from `first_k` on of one tap.
struct Stretch {
  int64_t tap = 0;
  int64_t taps = 0;
  int64_t first_k = 0;
  int64_t k = 0;
};

void multiply_stretch(const PanelLayout& layout, const std::byte* panel, int64_t vectors,
                      const PanelRows& rows, const Stretch& s, void* sums, int64_t sums_stride) {
  const TileSet& tiles = *layout.tiles;
  const int64_t depth = s.tap * layout.stored_k() + s.first_k;
  // first_k is a multiple of the group.
  const int64_t start_bytes = s.first_k * tiles.src_bytes;
  int64_t one_offset = 0;
  const int64_t* offsets = rows.tap_offsets + s.tap;
  if (start_bytes != 0) {
    one_offset = *offsets + start_bytes;
    offsets = &one_offset;
  }
  TileArgs args;
  args.tap_offsets = offsets;
  args.taps = s.taps;
  args.k = s.k;
  args.panel = panel + depth * vectors * tiles.lanes * tiles.weight_bytes;
  args.sums_stride = sums_stride;
  args.accumulate = rows.accumulate || depth > 0;
  const int64_t max_rows = rows.bounded ? tiles.bounded->max_rows : tiles.max_rows;
  const auto& by_rows = rows.bounded ? tiles.bounded->tiles : tiles.tiles;
  const int64_t count = ceil_div(rows.count, max_rows);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t first = rows.count * i / count;
    const int64_t last = rows.count * (i + 1) / count;
    args.rows = rows.rows + first;
    args.sums = static_cast<std::byte*>(sums) + first * sums_stride * 4;
    by_rows[last - first - 1][vectors - 1](args);
  }
}

// The same by tiles of widened operands, for at most kWideDepth elements, a tap's rounded up to the
// group.
void multiply_wide(const PanelLayout& layout, const std::byte* panel, int64_t vectors,
                   const PanelRows& rows, const Stretch& s, void* sums, int64_t sums_stride) {
  const TileSet& tiles = *layout.tiles;
  const WideTiles& wide = *tiles.wide;
  alignas(64) int16_t words[kWideDepth * kWideWidth];
  alignas(64) int16_t wide_rows[kMaxTileRows * kWideStride];
  const void* row_pointers[kMaxTileRows];
  for (int r = 0; r < kMaxTileRows; ++r) row_pointers[r] = wide_rows + r * kWideStride;
  const int64_t before = s.tap * layout.stored_k() + s.first_k;
  const int64_t groups = s.taps * ceil_div(s.k, tiles.group);
  wide.widen_panel(panel + before * vectors * tiles.lanes, groups, static_cast<int>(vectors),
                   words);
  const int64_t element_bytes = rows.wide ? 2 : 1;
  const int64_t first_offset = rows.tap_offsets[s.tap] + s.first_k * element_bytes;
  TileArgs src;
  src.tap_offsets = s.first_k == 0 ? rows.tap_offsets + s.tap : &first_offset;
  src.taps = s.taps;
  src.k = s.k;
  src.panel = words;
  src.sums_stride = sums_stride;
  src.accumulate = rows.accumulate || before > 0;
  const int64_t no_offset = 0;
  TileArgs widened = src;
  widened.rows = row_pointers;
  widened.tap_offsets = &no_offset;
  widened.taps = 1;
  widened.k = groups * tiles.group;
  TileArgs& args = rows.wide ? src : widened;
  const int64_t count = ceil_div(rows.count, kMaxTileRows);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t first = rows.count * i / count;
    const int64_t last = rows.count * (i + 1) / count;
    src.rows = rows.rows + first;
    if (!rows.wide) wide.widen_rows(src, static_cast<int>(last - first), wide_rows);
    args.sums = static_cast<int32_t*>(sums) + first * sums_stride;
    wide.tiles[last - first - 1][vectors - 1](args);
  }
}

}  // namespace

void multiply_panel(const PanelLayout& layout, const std::byte* packed, int64_t p,
                    const PanelRows& rows, void* sums, int64_t sums_stride) {
  const TileSet& tiles = *layout.tiles;
  const std::byte* panel = packed + layout.panel_offset(p);
  const int64_t vectors = layout.panel_vectors(p);
  const bool wide =
      rows.wide || (!rows.bounded && tiles.wide != nullptr && rows.count >= tiles.wide->least_rows);
  const auto multiply = wide ? multiply_wide : multiply_stretch;
  const int64_t k_bytes = vectors * tiles.lanes * tiles.weight_bytes;
  const int64_t fit = wide ? kWideDepth : kStretchBytes / k_bytes / tiles.group * tiles.group;
  if (layout.taps * layout.stored_k() <= fit || (!wide && rows.count <= tiles.max_rows)) {
    multiply(layout, panel, vectors, rows, {0, layout.taps, 0, layout.k}, sums, sums_stride);
    return;
  }
  if (layout.stored_k() <= fit) {
    const int64_t blocks = ceil_div(layout.taps, fit / layout.stored_k());
    for (int64_t i = 0; i < blocks; ++i) {
      const int64_t tap = layout.taps * i / blocks;
      const int64_t n = layout.taps * (i + 1) / blocks - tap;
      multiply(layout, panel, vectors, rows, {tap, n, 0, layout.k}, sums, sums_stride);
    }
    return;
  }
  // Stretches of one tap, as even as whole groups allow.
  const int64_t groups = layout.stored_k() / tiles.group;
  const int64_t step = ceil_div(groups, ceil_div(layout.stored_k(), fit)) * tiles.group;
  for (int64_t tap = 0; tap < layout.taps; ++tap) {
    for (int64_t k = 0; k < layout.k; k += step) {
      const int64_t n = std::min(step, layout.k - k);
      multiply(layout, panel, vectors, rows, {tap, 1, k, n}, sums, sums_stride);
    }
  }
}

void transpose_floats(const float* src, int64_t src_stride, int64_t rows, int64_t columns,
                      float* dst, int64_t dst_stride) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const float* s = src + r * src_stride;
    int64_t c = 0;
#if defined(__SSE2__)
    for (; c + 4 <= columns; c += 4) {
      __m128 a = _mm_loadu_ps(s + c);
      __m128 b = _mm_loadu_ps(s + src_stride + c);
      __m128 d = _mm_loadu_ps(s + 2 * src_stride + c);
      __m128 e = _mm_loadu_ps(s + 3 * src_stride + c);
      _MM_TRANSPOSE4_PS(a, b, d, e);
      _mm_storeu_ps(dst + c * dst_stride + r, a);
      _mm_storeu_ps(dst + (c + 1) * dst_stride + r, b);
      _mm_storeu_ps(dst + (c + 2) * dst_stride + r, d);
      _mm_storeu_ps(dst + (c + 3) * dst_stride + r, e);
    }
#endif
    for (; c < columns; ++c) {
      for (int64_t i = 0; i < 4; ++i) dst[c * dst_stride + r + i] = s[i * src_stride + c];
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) dst[c * dst_stride + r] = src[r * src_stride + c];
  }
}

void pack_floats(const PanelLayout& layout, const float* src, int64_t stride, bool transposed,
                 std::byte* packed) {
  auto* dst = reinterpret_cast<float*>(packed);
  for (int64_t p = 0; p < layout.panels(); ++p) {
    const int64_t columns = layout.panel_columns(p);
    const int64_t stored = layout.panel_vectors(p) * layout.tiles->lanes;
    const int64_t first = p * layout.width();
    if (transposed) {
      transpose_floats(src + first * stride, stride, columns, layout.k, dst, stored);
    }
    for (int64_t k = 0; k < layout.k; ++k) {
      float* row = dst + k * stored;
      if (!transposed) std::copy_n(src + k * stride + first, columns, row);
      std::fill(row + columns, row + stored, 0.0F);
    }
    dst += layout.k * stored;
  }
}

void widen_source(const TileSet& tiles, DType type, const std::byte* src, int64_t row_bytes,
                  int64_t count, int64_t k, float* dst, ThreadPool& pool) {
  constexpr int64_t kRowsInTask = 8;
  pool.run((count + kRowsInTask - 1) / kRowsInTask, [&](int64_t task, int) {
    const int64_t last = std::min(count, (task + 1) * kRowsInTask);
    for (int64_t r = task * kRowsInTask; r < last; ++r) {
      tiles.widen(stored_type(type), src + r * row_bytes, dst + r * k, k);
    }
  });
}

TaskGrid cut_tasks(const PanelLayout& layout, int64_t rows) {
  // Few tasks are divided unevenly among the threads; many cost more to hand out.
  constexpr int64_t kEnoughTasks = 8;
  TaskGrid grid;
  grid.rows = rows;
  grid.panels = layout.panels();
  if (rows == 0 || grid.panels == 0) return grid;
  const int64_t depth = std::max<int64_t>(1, layout.taps * layout.k);
  const int64_t panel_macs = layout.width() * depth;  // of one row
  const int64_t least = layout.tiles->task_macs;
  const int64_t all_macs = rows * layout.columns * depth;
  grid.row_blocks = (rows + kMaxBlockRows - 1) / kMaxBlockRows;
  const int64_t block_macs = (rows / grid.row_blocks) * panel_macs;
  const int64_t panels_in_task = std::clamp<int64_t>(least / block_macs, 1, grid.panels);
  grid.panel_blocks = (grid.panels + panels_in_task - 1) / panels_in_task;
  const int64_t want = std::clamp<int64_t>(all_macs / least, 1, kEnoughTasks);
  while (grid.tasks() < want && rows / grid.row_blocks > layout.tiles->max_rows) {
    ++grid.row_blocks;
  }
  return grid;
}

WideRows WideRows::of(const TileSet& tiles, const TaskGrid& grid, int64_t k) {
  // A task's rows stay in the second-level cache of the processors that have these tiles (512 KB);
  // beyond, each panel would fetch them from the third. All rows together may lie there.
  constexpr int64_t kMostTaskBytes = 320 << 10;
  constexpr int64_t kMostBytes = 2 << 20;
  if (tiles.wide == nullptr || grid.tasks() == 0 || grid.panels < 2) return {};
  if (grid.rows / grid.row_blocks < tiles.wide->least_rows) return {};
  const int64_t stride = ceil_div(k, tiles.group) * tiles.group + 32;  // off a power of two
  const int64_t task_bytes = round_up_64(ceil_div(grid.rows, grid.row_blocks) * stride * 2);
  const int64_t all_bytes = round_up_64(grid.rows * stride * 2);
  if (task_bytes > kMostTaskBytes) return {};
  const bool by_task = grid.panels / grid.panel_blocks >= 2;
  if (!by_task && all_bytes > kMostBytes) return {};
  return {tiles.wide, k, stride, by_task, by_task ? task_bytes : all_bytes};
}

namespace {

void widen_row(const WideRows& wide, const void* src, int16_t* dst) {
  wide.tiles->widen(static_cast<const uint8_t*>(src), dst, wide.k);
  std::fill(dst + wide.k, dst + wide.stride, int16_t{0});  // a group is read whole
}

}  // namespace

void WideRows::widen(const void** rows, int64_t count, std::byte* scratch) const {
  auto* dst = reinterpret_cast<int16_t*>(scratch);
  for (int64_t r = 0; r < count; ++r, dst += stride) {
    widen_row(*this, rows[r], dst);
    rows[r] = dst;
  }
}

void WideRows::widen_all(const std::byte* src, int64_t row_bytes, int64_t count, std::byte* scratch,
                         ThreadPool& pool) const {
  constexpr int64_t kTaskElements = 32 << 10;  // about two microseconds
  const int64_t in_task = std::max<int64_t>(1, kTaskElements / stride);
  auto* dst = reinterpret_cast<int16_t*>(scratch);
  pool.run(ceil_div(count, in_task), [&](int64_t task, int) {
    const int64_t last = std::min(count, (task + 1) * in_task);
    for (int64_t r = task * in_task; r < last; ++r) {
      widen_row(*this, src + r * row_bytes, dst + r * stride);
    }
  });
}

StoredType stored_type(DType type) {
  switch (type) {
    case DType::kBFloat16:
      return StoredType::kBFloat16;
    case DType::kFloat16:
      return StoredType::kFloat16;
    case DType::kUInt8:
      return StoredType::kUInt8;
    default:
      return StoredType::kFloat32;
  }
}

}  // namespace pare
