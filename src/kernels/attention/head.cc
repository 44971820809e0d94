#include "kernels/attention/head.h"

#include <algorithm>

#include "kernels/gemm/tilesets.h"

namespace pare {

#if PARE_X86
const HeadTiles kHeadAvx512 = {&tiles_f32_6x64_avx512, &norm_rows_avx512};
const HeadTiles kHeadAvx2 = {&tiles_f32_6x16_avx2, &norm_rows_avx2};
#elif PARE_NEON
const HeadTiles kHeadNeon = {&tiles_f32_6x16_neon, &norm_rows_neon};
#endif

HeadLayout HeadLayout::of(const TileSet& tiles, const AttentionProblem& p) {
  HeadLayout l;
  l.keys = {&tiles, p.kv_tokens, 1, p.qk_dim};
  l.values = {&tiles, p.v_dim, 1, p.kv_tokens};
  l.scores_stride = l.keys.panels() * l.keys.width();
  return l;
}

void attend(const HeadTiles& t, const HeadLayout& layout, const AttentionProblem& p,
            const Head& head) {
  alignas(64) float sums[kMaxBlockRows * kMaxTileVectors * 16];
  const void* rows[kMaxBlockRows];
  const int64_t tap_offset = 0;
  Epilogue rounding;
  rounding.out_scale = head.out_scale;
  rounding.out_zero_point = head.out_zero_point;
  for (int64_t first = 0; first < p.q_tokens; first += kMaxBlockRows) {
    const int64_t count = std::min(kMaxBlockRows, p.q_tokens - first);
    for (int64_t i = 0; i < count; ++i) rows[i] = head.q + (first + i) * head.q_stride;
    for (int64_t panel = 0; panel < layout.keys.panels(); ++panel) {
      multiply_panel(layout.keys, head.keys, panel, {rows, count, &tap_offset},
                     head.scores + panel * layout.keys.width(), layout.scores_stride);
    }
    for (int64_t i = 0; i < count; ++i) {
      float* row = head.scores + i * layout.scores_stride;
      t.rows->scaled_softmax(row, p.kv_tokens, p.scale);
      rows[i] = row;
    }
    for (int64_t panel = 0; panel < layout.values.panels(); ++panel) {
      const int64_t width = layout.values.width();
      multiply_panel(layout.values, head.values, panel, {rows, count, &tap_offset}, sums, width);
      t.tiles->finish({sums, width, count, layout.values.panel_columns(panel), &rounding, first,
                       panel * width, stored_type(p.dst_type), head.dst, head.dst_stride});
    }
  }
}

}  // namespace pare
