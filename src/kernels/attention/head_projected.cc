// Projected attention on panels: product and attention of one head of a few images at a time, the
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

// The images whose rows a task multiplies by a head's columns together: as many as one block of
// rows holds, while the threads have tasks enough. Weights then come to the tiles once for them
// all.
int64_t images_in_task(const AttentionProblem& a, int threads) {
  const int64_t most = std::clamp<int64_t>(kMaxBlockRows / std::max<int64_t>(1, a.q_tokens), 1,
                                           std::max<int64_t>(1, a.batch));
  const int64_t enough = threads == 1 ? 1 : 4 * threads;
  int64_t images = most;
  while (images > 1 && a.heads * (a.batch / images) < enough) --images;
  const int64_t groups = (a.batch + images - 1) / images;
  return groups == 0 ? 1 : (a.batch + groups - 1) / groups;
}

// A worker's memory, one after the other: the rows of one block in sixteen bits where the tiles
// want them; queries, keys by token and panels of values of a task's images; what attend() reads of
// one.
struct Layout {
  PanelLayout product;
  int64_t images = 1;  // of a task
  TaskGrid blocks;     // of a task's rows: one, unless one image has more
  WideRows wide;
  HeadLayout head;
  int64_t rows_bytes = 0;  // of an image's queries, and of its keys

  int64_t queries() const { return wide.bytes; }
  int64_t keys() const { return queries() + images * rows_bytes; }
  int64_t values() const { return keys() + images * rows_bytes; }
  int64_t packed_keys() const { return values() + images * head.values_bytes(); }
  int64_t scores() const { return packed_keys() + head.keys_bytes(); }
  int64_t bytes() const { return scores() + head.scores_bytes(); }
};

Layout layout_of(const ProjectedTiles& t, const ProjectedProblem& p, int threads) {
  const AttentionProblem& a = p.attention;
  Layout l;
  l.product = {t.product, p.product.n, 1, p.product.k};
  l.images = images_in_task(a, threads);
  l.blocks.rows = l.images * a.q_tokens;
  l.blocks.row_blocks = (l.blocks.rows + kMaxBlockRows - 1) / kMaxBlockRows;
  l.blocks.panels = (2 * a.qk_dim + a.v_dim) / l.product.width();
  l.blocks.panel_blocks = 1;
  l.wide = WideRows::of(*t.product, l.blocks, p.product.k);
  l.head = HeadLayout::of(*t.head->tiles, a);
  l.rows_bytes = round_up_64(a.q_tokens * a.qk_dim * 4);
  return l;
}

// Where the columns of a product for one head go: `columns` from `first` on into `dst`, whose panel
// p begins `panel_step` elements after panel p - 1, each image `image_bytes` after the one before.
struct Part {
  int64_t first = 0;
  int64_t columns = 0;
  std::byte* dst = nullptr;
  int64_t dst_stride = 0;
  int64_t panel_step = 0;
  int64_t image_bytes = 0;
};

// Rows first … first + rows.count - 1 of a task's images, of `tokens` rows each, times the columns
// of a part.
void project(const Layout& l, const GemmArgs& args, const PanelRows& rows, int64_t first,
             int64_t tokens, const Part& part) {
  alignas(64) float sums[kMaxBlockRows * kMaxTileVectors * 16];
  const int64_t width = l.product.width();
  for (int64_t c = 0; c < part.columns; c += width) {
    const int64_t column = part.first + c;
    multiply_panel(l.product, args.packed, column / width, rows, sums, width);
    Epilogue epilogue = args.epilogue;
    if (epilogue.bias != nullptr) epilogue.bias += column;
    if (epilogue.int_bias != nullptr) epilogue.int_bias += column;
    if (epilogue.multiplier != nullptr) epilogue.multiplier += column;
    for (int64_t r = 0; r < rows.count;) {
      const int64_t image = (first + r) / tokens;
      const int64_t token = (first + r) % tokens;
      const int64_t count = std::min(rows.count - r, tokens - token);
      auto* dst = reinterpret_cast<float*>(part.dst + image * part.image_bytes);
      l.product.tiles->finish({sums + r * width, width, count, width, &epilogue, token, 0,
                               StoredType::kFloat32, dst + c / width * part.panel_step,
                               part.dst_stride});
      r += count;
    }
  }
}

// Queries, keys and values of head h for `images` images from b on.
void project_head(const Layout& l, const ProjectedProblem& p, const GemmArgs& args, int64_t b,
                  int64_t images, int64_t h, std::byte* memory) {
  const AttentionProblem& a = p.attention;
  const int64_t width = l.product.width();
  const int64_t qk = a.qk_dim;
  const Part parts[] = {{h * qk, qk, memory + l.queries(), qk, width, l.rows_bytes},
                        {(a.heads + h) * qk, qk, memory + l.keys(), qk, width, l.rows_bytes},
                        {2 * a.heads * qk + h * a.v_dim, a.v_dim, memory + l.values(), width,
                         width * a.kv_tokens, l.head.values_bytes()}};
  const int64_t row_bytes = args.src_stride * dtype_bytes(p.product.src_type);
  const auto* src = static_cast<const std::byte*>(args.src) + b * a.q_tokens * row_bytes;
  const int64_t tap_offset = 0;
  const void* rows[kMaxBlockRows];
  const int64_t all = images * a.q_tokens;  // fewer than a block's for the last images
  for (int64_t block = 0; block < l.blocks.row_blocks; ++block) {
    const int64_t first = l.blocks.first_row(block);
    const int64_t count = std::min(all, l.blocks.first_row(block + 1)) - first;
    for (int64_t r = 0; r < count; ++r) rows[r] = src + (first + r) * row_bytes;
    const bool wide = l.wide.tiles != nullptr;
    if (wide) l.wide.widen(rows, count, memory);
    for (const Part& part : parts) {
      project(l, args, {rows, count, &tap_offset, wide}, first, a.q_tokens, part);
    }
  }
}

void run_head(const ProjectedTiles& t, const Layout& l, const ProjectedProblem& p,
              const ProjectedArgs& args, int64_t b, int64_t h, std::byte* memory) {
  const AttentionProblem& a = p.attention;
  const int64_t images = std::min(l.images, a.batch - b);
  project_head(l, p, args.product, b, images, h, memory);
  for (int64_t i = 0; i < images; ++i) {
    const auto* q = reinterpret_cast<const float*>(memory + l.queries() + i * l.rows_bytes);
    const auto* k = reinterpret_cast<const float*>(memory + l.keys() + i * l.rows_bytes);
    pack_floats(l.head.keys, k, a.qk_dim, true, memory + l.packed_keys());
    const int64_t at = (b + i) * args.dst_strides.batch + h * args.dst_strides.head;
    attend(*t.head, l.head, a,
           {q, a.qk_dim, memory + l.packed_keys(), memory + l.values() + i * l.head.values_bytes(),
            reinterpret_cast<float*>(memory + l.scores()),
            static_cast<std::byte*>(args.dst) + at * dtype_bytes(a.dst_type),
            args.dst_strides.token, args.out_scale, args.out_zero_point});
  }
}

const ProjectedTiles& tiles_of(const ProjectedKernel& kernel) {
  return *static_cast<const ProjectedTiles*>(kernel.tiles);
}

int64_t scratch_bytes(const ProjectedKernel& kernel, const ProjectedProblem& p, int threads) {
  return threads * layout_of(tiles_of(kernel), p, threads).bytes();
}

void run(const ProjectedKernel& kernel, const ProjectedProblem& p, const ProjectedArgs& args,
         ThreadPool& pool) {
  const ProjectedTiles& tiles = tiles_of(kernel);
  const Layout layout = layout_of(tiles, p, pool.threads());
  const int64_t groups = (p.attention.batch + layout.images - 1) / layout.images;
  pool.run(groups * p.attention.heads, [&](int64_t task, int worker) {
    run_head(tiles, layout, p, args, task % groups * layout.images, task / groups,
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

#if PARE_X86
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
#elif PARE_NEON
PARE_PROJECTED(f32, 6x16, neon, DType::kFloat32, kHeadNeon, kIsaBaseline, "panels16")
PARE_PROJECTED(bf16, 6x16, neon, DType::kBFloat16, kHeadNeon, kIsaBaseline, "panels16")
PARE_PROJECTED(f16, 6x16, neon, DType::kFloat16, kHeadNeon, kIsaBaseline, "panels16")
PARE_PROJECTED(u8s8, 4x16, neon, DType::kInt8, kHeadNeon, kIsaBaseline, "quads16")
#endif

#undef PARE_PROJECTED

}  // namespace pare
