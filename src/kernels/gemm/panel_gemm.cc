// Dense layers and products of activations on panels (panels.h), for every tile set.
#include <cstring>

#include "kernels/gemm/panels.h"
#include "kernels/gemm/tilesets.h"
#include "kernels/gemm/variants.h"
#include "kernels/scalar.h"

namespace pare {
namespace {

const TileSet& tiles_of(const GemmKernel& kernel) {
  return *static_cast<const TileSet*>(kernel.tiles);
}

int64_t packed_bytes(const GemmKernel& kernel, const GemmWeights& w) {
  return PanelLayout{&tiles_of(kernel), w.n, 1, w.k}.bytes();
}

template <typename T>
void pack_as(const PanelLayout& layout, const GemmWeights& w, std::byte* packed) {
  const auto* src = static_cast<const T*>(w.data);
  if (w.k_major) {
    pack_panels<T>(layout, packed, [&](int64_t n, int64_t, int64_t k) { return src[k * w.n + n]; });
  } else {
    pack_panels<T>(layout, packed, [&](int64_t n, int64_t, int64_t k) { return src[n * w.k + k]; });
  }
}

void pack(const GemmKernel& kernel, const GemmWeights& w, std::byte* packed) {
  const PanelLayout layout{&tiles_of(kernel), w.n, 1, w.k};
  switch (dtype_bytes(w.type)) {
    case 1:
      pack_as<int8_t>(layout, w, packed);
      return;
    case 2:
      pack_as<uint16_t>(layout, w, packed);
      return;
    default:
      pack_as<float>(layout, w, packed);
      return;
  }
}

// The rows of src must be widened to float32 before this kernel's tiles can read them.
bool widens(const TileSet& tiles, const GemmProblem& p) {
  return tiles.src_bytes == 4 && p.src_type != DType::kFloat32;
}

// One row of floats goes through TileSet::row_panels.
bool is_row(const TileSet& tiles, const GemmProblem& p) {
  return p.m == 1 && p.k > 0 && tiles.row_panels != nullptr;
}

int64_t widened_bytes(const TileSet& tiles, const GemmProblem& p) {
  return widens(tiles, p) ? round_up_64(p.m * p.k * 4) : 0;
}

int64_t scratch_bytes(const GemmKernel& kernel, const GemmProblem& p, int threads) {
  const TileSet& tiles = tiles_of(kernel);
  const WideRows wide = WideRows::of(tiles, cut_tasks({&tiles, p.n, 1, p.k}, p.m), p.k);
  return widened_bytes(tiles, p) + (is_row(tiles, p) ? 2 * round_up_64(p.k * 4) : 0) +
         wide.scratch_bytes(threads);
}

// What the tasks of one run share.
struct Run {
  const GemmProblem& problem;
  const GemmArgs& args;
  PanelLayout layout;
  TaskGrid grid;
  const std::byte* src;
  int64_t src_stride_bytes;
  WideRows wide;
};

void run_task(const Run& run, int64_t task, int worker) {
  alignas(64) float sums[kMaxBlockRows * kMaxTileVectors * 16];
  const void* rows[kMaxBlockRows];
  const int64_t row_block = task / run.grid.panel_blocks;
  const int64_t panel_block = task % run.grid.panel_blocks;
  const int64_t first = run.grid.first_row(row_block);
  const int64_t count = run.grid.first_row(row_block + 1) - first;
  for (int64_t r = 0; r < count; ++r) rows[r] = run.src + (first + r) * run.src_stride_bytes;
  if (run.wide.by_task) {
    run.wide.widen(rows, count, run.args.scratch.data() + worker * run.wide.bytes);
  }
  const bool wide = run.wide.tiles != nullptr;
  const int64_t tap_offset = 0;
  FinishArgs finish;
  finish.sums = sums;
  finish.sums_stride = run.layout.width();
  finish.rows = count;
  finish.epilogue = &run.args.epilogue;
  finish.first_row = first;
  finish.dst_type = stored_type(run.problem.dst_type);
  finish.dst = run.args.dst;
  finish.dst_stride = run.args.dst_stride;
  for (int64_t p = run.grid.first_panel(panel_block); p < run.grid.first_panel(panel_block + 1);
       ++p) {
    multiply_panel(run.layout, run.args.packed, p, {rows, count, &tap_offset, wide}, sums,
                   run.layout.width());
    finish.columns = run.layout.panel_columns(p);
    finish.first_column = p * run.layout.width();
    run.layout.tiles->finish(finish);
  }
}

// The elements of a row that are not zero.
int64_t keep_nonzero(const float* row, int64_t k, float* values, int32_t* index) {
  int64_t count = 0;
  for (int64_t i = 0; i < k; ++i) {
    values[count] = row[i];
    index[count] = static_cast<int32_t>(i);
    count += row[i] != 0.0F ? 1 : 0;
  }
  return count;
}

// The one row of the source by kRowPanels panels at a time; the panels that are left, and the last
// one where it is narrower, by tiles.
void run_row(const Run& run, std::byte* scratch, ThreadPool& pool) {
  const PanelLayout& layout = run.layout;
  const int64_t k = run.problem.k;
  auto* values = reinterpret_cast<float*>(scratch);
  auto* index = reinterpret_cast<int32_t*>(scratch + round_up_64(k * 4));
  const int64_t count = keep_nonzero(reinterpret_cast<const float*>(run.src), k, values, index);
  const int64_t whole = run.problem.n / layout.width() / kRowPanels;
  const int64_t rest = layout.panels() - whole * kRowPanels;
  FinishArgs finish;
  finish.sums_stride = layout.width();
  finish.rows = 1;
  finish.epilogue = &run.args.epilogue;
  finish.first_row = 0;
  finish.dst_type = stored_type(run.problem.dst_type);
  finish.dst = run.args.dst;
  finish.dst_stride = run.args.dst_stride;
  pool.run(whole + (rest > 0 ? 1 : 0), [&](int64_t task, int) {
    alignas(64) float sums[kRowPanels * kMaxTileVectors * 16];
    FinishArgs its = finish;
    its.sums = sums;
    const int64_t first = task * kRowPanels;
    if (task < whole) {
      RowArgs row{values, index, count, {}, sums};
      for (int64_t p = 0; p < kRowPanels; ++p) {
        row.panels[p] = run.args.packed + layout.panel_offset(first + p);
      }
      layout.tiles->row_panels(row);
      its.first_column = first * layout.width();
      its.columns = kRowPanels * layout.width();
      layout.tiles->finish(its);
      return;
    }
    const void* rows[1] = {run.src};
    const int64_t tap_offset = 0;
    for (int64_t p = first; p < first + rest; ++p) {
      multiply_panel(layout, run.args.packed, p, {rows, 1, &tap_offset}, sums, layout.width());
      its.columns = layout.panel_columns(p);
      its.first_column = p * layout.width();
      layout.tiles->finish(its);
    }
  });
}

void run(const GemmKernel& kernel, const GemmProblem& p, const GemmArgs& args, ThreadPool& pool) {
  const TileSet& tiles = tiles_of(kernel);
  const PanelLayout layout{&tiles, p.n, 1, p.k};
  Run r{p,
        args,
        layout,
        cut_tasks(layout, p.m),
        static_cast<const std::byte*>(args.src),
        args.src_stride * dtype_bytes(p.src_type),
        {}};
  r.wide = WideRows::of(tiles, r.grid, p.k);
  if (widens(tiles, p)) {
    widen_source(tiles, p.src_type, r.src, r.src_stride_bytes, p.m, p.k,
                 reinterpret_cast<float*>(args.scratch.data()), pool);
    r.src = args.scratch.data();
    r.src_stride_bytes = p.k * 4;
  }
  if (is_row(tiles, p)) {
    run_row(r, args.scratch.data() + widened_bytes(tiles, p), pool);
    return;
  }
  if (r.wide.tiles != nullptr && !r.wide.by_task) {
    r.wide.widen_all(r.src, r.src_stride_bytes, p.m, args.scratch.data(), pool);
    r.src = args.scratch.data();
    r.src_stride_bytes = r.wide.stride * 2;
  }
  pool.run(r.grid.tasks(), [&](int64_t task, int worker) { run_task(r, task, worker); });
}

const char* refuse_f32(const GemmProblem& p) {
  return p.weights_type == DType::kFloat32 ? nullptr : "weights are not float32";
}
const char* refuse_bf16(const GemmProblem& p) {
  return p.weights_type == DType::kBFloat16 ? nullptr : "weights are not bfloat16";
}
const char* refuse_f16(const GemmProblem& p) {
  return p.weights_type == DType::kFloat16 ? nullptr : "weights are not float16";
}
const char* refuse_u8s8(const GemmProblem& p) {
  return p.weights_type == DType::kInt8 ? nullptr : "weights are not int8";
}
[[maybe_unused]] const char* refuse_bf16dot(const GemmProblem& p) {
  if (p.weights_type != DType::kBFloat16) return "weights are not bfloat16";
  return p.src_type == DType::kBFloat16 ? nullptr : "source is not bfloat16";
}

// Products of two activations: B is packed into panels for each matrix, then the tiles run.
const TileSet& tiles_of(const MatMulKernel& kernel) {
  return *static_cast<const TileSet*>(kernel.tiles);
}

int64_t matmul_worker_bytes(const PanelLayout& layout) { return round_up_64(layout.bytes()); }

int64_t matmul_scratch(const MatMulKernel& kernel, const MatMulProblem& p, int threads) {
  return threads * matmul_worker_bytes({&tiles_of(kernel), p.n, 1, p.k});
}

void matmul_task(const PanelLayout& layout, const MatMulProblem& p, const MatMulArgs& args,
                 int64_t i, std::byte* packed) {
  const float* a = args.a + args.a_offsets[static_cast<size_t>(i)];
  const float* b = args.b + args.b_offsets[static_cast<size_t>(i)];
  pack_floats(layout, b, args.b_stride, p.transpose_b, packed);
  alignas(64) float sums[kMaxBlockRows * kMaxTileVectors * 16];
  const void* rows[kMaxBlockRows];
  const int64_t tap_offset = 0;
  const Epilogue nothing;
  for (int64_t first = 0; first < p.m; first += kMaxBlockRows) {
    const int64_t count = std::min(kMaxBlockRows, p.m - first);
    for (int64_t r = 0; r < count; ++r) rows[r] = a + (first + r) * args.a_stride;
    for (int64_t panel = 0; panel < layout.panels(); ++panel) {
      multiply_panel(layout, packed, panel, {rows, count, &tap_offset}, sums, layout.width());
      layout.tiles->finish({sums, layout.width(), count, layout.panel_columns(panel), &nothing,
                            first, panel * layout.width(), StoredType::kFloat32,
                            args.dst + i * p.m * p.n, p.n});
    }
  }
}

void matmul(const MatMulKernel& kernel, const MatMulProblem& p, const MatMulArgs& args,
            ThreadPool& pool) {
  const PanelLayout layout{&tiles_of(kernel), p.n, 1, p.k};
  if (p.m == 0 || p.n == 0) return;
  pool.run(p.batch, [&](int64_t i, int worker) {
    matmul_task(layout, p, args, i, args.scratch.data() + worker * matmul_worker_bytes(layout));
  });
}

}  // namespace

#define PARE_PANEL_GEMM(types, tile, isa, needs, packing)                              \
  const GemmKernel gemm_##types##_##tile##_##isa = {"gemm_" #types "_" #tile "_" #isa, \
                                                    needs,                             \
                                                    packing,                           \
                                                    refuse_##types,                    \
                                                    packed_bytes,                      \
                                                    pack,                              \
                                                    scratch_bytes,                     \
                                                    run,                               \
                                                    &tiles_##types##_##tile##_##isa};

#if PARE_X86
PARE_PANEL_GEMM(f32, 6x64, avx512, kIsaAvx512, "panels64")
PARE_PANEL_GEMM(bf16, 6x64, avx512, kIsaAvx512, "panels64")
PARE_PANEL_GEMM(f16, 6x64, avx512, kIsaAvx512, "panels64")
PARE_PANEL_GEMM(bf16dot, 6x64, avx512_bf16, kIsaAvx512 | kIsaAvx512Bf16, "pairs64")
PARE_PANEL_GEMM(u8s8, 6x64, avx512_vnni, kIsaAvx512 | kIsaAvx512Vnni, "quads64")
PARE_PANEL_GEMM(u8s8, 4x64, avx512, kIsaAvx512, "quads64")
PARE_PANEL_GEMM(f32, 6x16, avx2, kIsaAvx2, "panels16")
PARE_PANEL_GEMM(bf16, 6x16, avx2, kIsaAvx2, "panels16")
PARE_PANEL_GEMM(f16, 6x16, avx2, kIsaAvx2, "panels16")
PARE_PANEL_GEMM(u8s8, 4x16, avx2, kIsaAvx2, "quads16")
#elif PARE_NEON
PARE_PANEL_GEMM(f32, 6x16, neon, kIsaBaseline, "panels16")
PARE_PANEL_GEMM(bf16, 6x16, neon, kIsaBaseline, "panels16")
PARE_PANEL_GEMM(f16, 6x16, neon, kIsaBaseline, "panels16")
PARE_PANEL_GEMM(u8s8, 4x16, neon, kIsaBaseline, "quads16")
#endif

#undef PARE_PANEL_GEMM

#if PARE_X86
const MatMulKernel matmul_f32_6x64_avx512 = {
    "matmul_f32_6x64_avx512", kIsaAvx512, nullptr, matmul_scratch, matmul, &tiles_f32_6x64_avx512};
const MatMulKernel matmul_f32_6x16_avx2 = {"matmul_f32_6x16_avx2", kIsaAvx2, nullptr,
                                           matmul_scratch,         matmul,   &tiles_f32_6x16_avx2};
#elif PARE_NEON
const MatMulKernel matmul_f32_6x16_neon = {
    "matmul_f32_6x16_neon", kIsaBaseline, nullptr, matmul_scratch, matmul, &tiles_f32_6x16_neon};
#endif

}  // namespace pare
