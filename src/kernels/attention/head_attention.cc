// Attention head by head on the float tiles of gemm/tile.h: the keys of a head are transposed into
// panels, the values copied into panels, and blocks of queries pass over both while everything lies
// in the second-level cache (25 tokens of 64: 30 KB; 197: 300 KB).
#include <algorithm>

#include "kernels/attention/variants.h"
#include "kernels/gemm/panels.h"
#include "kernels/gemm/tilesets.h"
#include "kernels/norm/rows.h"
#include "kernels/scalar.h"

namespace pare {
namespace {

struct HeadTiles {
  const TileSet* tiles;
  const NormRows* rows;
};

const HeadTiles& tiles_of(const AttentionKernel& kernel) {
  return *static_cast<const HeadTiles*>(kernel.tiles);
}

// Each worker's scratch: panels of keys, panels of values, scores of one block of queries.
struct HeadLayout {
  PanelLayout keys;
  PanelLayout values;
  int64_t scores_stride = 0;

  int64_t keys_bytes() const { return round_up_64(keys.bytes()); }
  int64_t values_bytes() const { return round_up_64(values.bytes()); }
  int64_t worker_bytes() const {
    return keys_bytes() + values_bytes() + kMaxBlockRows * scores_stride * 4;
  }
};

HeadLayout layout_of(const TileSet& tiles, const AttentionProblem& p) {
  HeadLayout l;
  l.keys = {&tiles, p.kv_tokens, 1, p.qk_dim};
  l.values = {&tiles, p.v_dim, 1, p.kv_tokens};
  l.scores_stride = l.keys.panels() * l.keys.width();
  return l;
}

int64_t scratch_bytes(const AttentionKernel& kernel, const AttentionProblem& p, int threads) {
  return threads * layout_of(*tiles_of(kernel).tiles, p).worker_bytes();
}

int64_t at(const AttentionStrides& s, int64_t b, int64_t token, int64_t head) {
  return b * s.batch + token * s.token + head * s.head;
}

void run_head(const HeadTiles& t, const HeadLayout& layout, const AttentionProblem& p,
              const AttentionArgs& args, int64_t b, int64_t head, std::byte* scratch) {
  std::byte* keys = scratch;
  std::byte* values = keys + layout.keys_bytes();
  auto* scores = reinterpret_cast<float*>(values + layout.values_bytes());
  pack_floats(layout.keys, args.k + at(args.k_strides, b, 0, head), args.k_strides.token, true,
              keys);
  pack_floats(layout.values, args.v + at(args.v_strides, b, 0, head), args.v_strides.token, false,
              values);
  alignas(64) float sums[kMaxBlockRows * kMaxTileVectors * 16];
  const void* rows[kMaxBlockRows];
  const int64_t tap_offset = 0;
  Epilogue rounding;
  rounding.out_scale = args.out_scale;
  rounding.out_zero_point = args.out_zero_point;
  for (int64_t first = 0; first < p.q_tokens; first += kMaxBlockRows) {
    const int64_t count = std::min(kMaxBlockRows, p.q_tokens - first);
    for (int64_t i = 0; i < count; ++i) rows[i] = args.q + at(args.q_strides, b, first + i, head);
    for (int64_t panel = 0; panel < layout.keys.panels(); ++panel) {
      multiply_panel(layout.keys, keys, panel, {rows, count, &tap_offset},
                     scores + panel * layout.keys.width(), layout.scores_stride);
    }
    for (int64_t i = 0; i < count; ++i) {
      float* row = scores + i * layout.scores_stride;
      t.rows->scaled_softmax(row, p.kv_tokens, p.scale);
      rows[i] = row;
    }
    auto* dst = static_cast<std::byte*>(args.dst) +
                at(args.dst_strides, b, first, head) * dtype_bytes(p.dst_type);
    for (int64_t panel = 0; panel < layout.values.panels(); ++panel) {
      const int64_t width = layout.values.width();
      multiply_panel(layout.values, values, panel, {rows, count, &tap_offset}, sums, width);
      t.tiles->finish({sums, width, count, layout.values.panel_columns(panel), &rounding, 0,
                       panel * width, stored_type(p.dst_type), dst, args.dst_strides.token});
    }
  }
}

void run(const AttentionKernel& kernel, const AttentionProblem& p, const AttentionArgs& args,
         ThreadPool& pool) {
  const HeadTiles& tiles = tiles_of(kernel);
  const HeadLayout layout = layout_of(*tiles.tiles, p);
  pool.run(p.batch * p.heads, [&](int64_t task, int worker) {
    run_head(tiles, layout, p, args, task / p.heads, task % p.heads,
             args.scratch.data() + worker * layout.worker_bytes());
  });
}

const HeadTiles kHeadAvx512 = {&tiles_f32_6x64_avx512, &norm_rows_avx512};
const HeadTiles kHeadAvx2 = {&tiles_f32_6x16_avx2, &norm_rows_avx2};

}  // namespace

const AttentionKernel attention_f32_head_avx512 = {
    "attention_f32_head_avx512", kIsaAvx512, nullptr, scratch_bytes, run, &kHeadAvx512};
const AttentionKernel attention_f32_head_avx2 = {
    "attention_f32_head_avx2", kIsaAvx2, nullptr, scratch_bytes, run, &kHeadAvx2};

}  // namespace pare
