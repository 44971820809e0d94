// Projected attention on panels: product and attention of one head and one image at a time, the
// images of a head one after the other, so that its columns of the weights stay in the cache.
#include <algorithm>
#include <string_view>

#include "kernels/attention/head.h"
#include "kernels/attention/variants.h"
#include "kernels/gemm/tilesets.h"
#include "kernels/scalar.h"

namespace pare {
namespace {

struct ProjectedTiles {
  const TileSet* product;
  DType weights;
  const HeadTiles* head;
  const char* packing;
};

template <const ProjectedTiles& kTiles>
const char* refuse(const ProjectedProblem& p) {
  const AttentionProblem& a = p.attention;
  const PanelLayout layout{kTiles.product, p.product.n, 1, p.product.k};
  if (p.product.weights_type != kTiles.weights) return "weights are of another type";
  if (std::string_view(p.packing) != kTiles.packing) return "weights are not packed in panels";
  const DType src = kTiles.weights == DType::kInt8 ? DType::kUInt8 : DType::kFloat32;
  if (p.product.src_type != src) return "source must be converted first";
  if (a.q_tokens != a.kv_tokens) return "not as many keys as queries";
  if (p.product.dst_type != DType::kFloat32 || p.product.residual ||
      p.product.activation != Activation::kNone) {
    return "more than a bias follows the product";
  }
  const bool whole = a.qk_dim % layout.width() == 0 && a.v_dim % layout.width() == 0;
  return whole ? nullptr : "heads are not whole panels";
}

// A worker's memory: the rows of one block in sixteen bits where the tiles want them, queries, keys
// by token, what attend() reads.
struct Layout {
  PanelLayout product;
  TaskGrid blocks;  // of one image's rows
  WideRows wide;
  HeadLayout head;
  int64_t rows_bytes = 0;  // of queries, and of keys

  int64_t bytes() const { return wide.bytes + 2 * rows_bytes + head.bytes(); }
};

Layout layout_of(const ProjectedTiles& t, const ProjectedProblem& p) {
  const AttentionProblem& a = p.attention;
  Layout l;
  l.product = {t.product, p.product.n, 1, p.product.k};
  l.blocks.rows = a.q_tokens;
  l.blocks.row_blocks = (a.q_tokens + kMaxBlockRows - 1) / kMaxBlockRows;
  l.blocks.panels = (2 * a.qk_dim + a.v_dim) / l.product.width();
  l.blocks.panel_blocks = 1;
  l.wide = WideRows::of(*t.product, l.blocks, p.product.k);
  l.head = HeadLayout::of(*t.head->tiles, a);
  l.rows_bytes = round_up_64(a.q_tokens * a.qk_dim * 4);
  return l;
}

// Where the columns of one product for one head go: `columns` from `first` on into `dst`, whose
// panel p begins `panel_step` elements after panel p - 1.
struct Part {
  int64_t first = 0;
  int64_t columns = 0;
  float* dst = nullptr;
  int64_t dst_stride = 0;
  int64_t panel_step = 0;
};

// The rows of one block times the columns of a part.
void project(const Layout& l, const GemmArgs& args, const PanelRows& rows, int64_t first_row,
             const Part& part) {
  alignas(64) float sums[kMaxBlockRows * kMaxTileVectors * 16];
  const int64_t width = l.product.width();
  for (int64_t c = 0; c < part.columns; c += width) {
    const int64_t column = part.first + c;
    multiply_panel(l.product, args.packed, column / width, rows, sums, width);
    Epilogue epilogue = args.epilogue;
    if (epilogue.bias != nullptr) epilogue.bias += column;
    if (epilogue.int_bias != nullptr) epilogue.int_bias += column;
    if (epilogue.multiplier != nullptr) epilogue.multiplier += column;
    l.product.tiles->finish({sums, width, rows.count, width, &epilogue, first_row, 0,
                             StoredType::kFloat32, part.dst + c / width * part.panel_step,
                             part.dst_stride});
  }
}

void run_head(const ProjectedTiles& t, const Layout& l, const ProjectedProblem& p,
              const ProjectedArgs& args, int64_t b, int64_t h, std::byte* memory) {
  const AttentionProblem& a = p.attention;
  auto* q = reinterpret_cast<float*>(memory + l.wide.bytes);
  auto* k = reinterpret_cast<float*>(memory + l.wide.bytes + l.rows_bytes);
  std::byte* head = memory + l.wide.bytes + 2 * l.rows_bytes;
  auto* values = reinterpret_cast<float*>(head + l.head.keys_bytes());
  const int64_t width = l.product.width();
  const int64_t value_width = l.head.values.width();
  const Part parts[] = {
      {h * a.qk_dim, a.qk_dim, q, a.qk_dim, width},
      {(a.heads + h) * a.qk_dim, a.qk_dim, k, a.qk_dim, width},
      {2 * a.heads * a.qk_dim + h * a.v_dim, a.v_dim, values, value_width, width * a.kv_tokens}};
  const int64_t row_bytes = args.product.src_stride * dtype_bytes(p.product.src_type);
  const auto* src = static_cast<const std::byte*>(args.product.src) + b * a.q_tokens * row_bytes;
  const int64_t tap_offset = 0;
  const void* rows[kMaxBlockRows];
  for (int64_t block = 0; block < l.blocks.row_blocks; ++block) {
    const int64_t first = l.blocks.first_row(block);
    const int64_t count = l.blocks.first_row(block + 1) - first;
    for (int64_t r = 0; r < count; ++r) rows[r] = src + (first + r) * row_bytes;
    const bool wide = l.wide.widen(rows, count, memory);
    for (const Part& part : parts) {
      project(l, args.product, {rows, count, &tap_offset, wide}, first, part);
    }
  }
  pack_floats(l.head.keys, k, a.qk_dim, true, head);
  auto* dst = static_cast<std::byte*>(args.dst) +
              (b * args.dst_strides.batch + h * args.dst_strides.head) * dtype_bytes(a.dst_type);
  attend(*t.head, l.head, a,
         {q, a.qk_dim, head, dst, args.dst_strides.token, args.out_scale, args.out_zero_point});
}

const ProjectedTiles& tiles_of(const ProjectedKernel& kernel) {
  return *static_cast<const ProjectedTiles*>(kernel.tiles);
}

int64_t scratch_bytes(const ProjectedKernel& kernel, const ProjectedProblem& p, int threads) {
  return threads * layout_of(tiles_of(kernel), p).bytes();
}

void run(const ProjectedKernel& kernel, const ProjectedProblem& p, const ProjectedArgs& args,
         ThreadPool& pool) {
  const ProjectedTiles& tiles = tiles_of(kernel);
  const Layout layout = layout_of(tiles, p);
  const int64_t batch = p.attention.batch;
  pool.run(batch * p.attention.heads, [&](int64_t task, int worker) {
    run_head(tiles, layout, p, args, task % batch, task / batch,
             args.scratch.data() + worker * layout.bytes());
  });
}

}  // namespace

#define PARE_PROJECTED(types, tile, isa, weights, head, needs, packing)                        \
  namespace {                                                                                  \
  constexpr ProjectedTiles kTiles_##types##_##isa = {&tiles_##types##_##tile##_##isa, weights, \
                                                     &head, packing};                          \
  }                                                                                            \
  const ProjectedKernel projected_##types##_##isa = {                                          \
      "projected_" #types "_" #isa, needs, refuse<kTiles_##types##_##isa>, scratch_bytes, run, \
      &kTiles_##types##_##isa};

PARE_PROJECTED(f32, 6x64, avx512, DType::kFloat32, kHeadAvx512, kIsaAvx512, "panels64")
PARE_PROJECTED(bf16, 6x64, avx512, DType::kBFloat16, kHeadAvx512, kIsaAvx512, "panels64")
PARE_PROJECTED(f16, 6x64, avx512, DType::kFloat16, kHeadAvx512, kIsaAvx512, "panels64")
PARE_PROJECTED(u8s8, 6x64, avx512_vnni, DType::kInt8, kHeadAvx512, kIsaAvx512 | kIsaAvx512Vnni,
               "quads64")
PARE_PROJECTED(u8s8, 4x64, avx512, DType::kInt8, kHeadAvx512, kIsaAvx512, "quads64")
PARE_PROJECTED(f32, 6x16, avx2, DType::kFloat32, kHeadAvx2, kIsaAvx2, "panels16")
PARE_PROJECTED(bf16, 6x16, avx2, DType::kBFloat16, kHeadAvx2, kIsaAvx2, "panels16")
PARE_PROJECTED(f16, 6x16, avx2, DType::kFloat16, kHeadAvx2, kIsaAvx2, "panels16")
PARE_PROJECTED(u8s8, 4x16, avx2, DType::kInt8, kHeadAvx2, kIsaAvx2, "quads16")

#undef PARE_PROJECTED

}  // namespace pare
