// Dense layers whose weights are mostly zeros (sparse.h, sparse_weights.h).
#include <cstring>

#include "kernels/gemm/panels.h"
#include "kernels/gemm/sparse_rows.h"
#include "kernels/gemm/variants.h"
#include "kernels/scalar.h"

namespace pare {
namespace {

// The share of weights that are not zero below which leaving the others out pays
// (docs/results/cpu.md). Behind a ReLU columns leave out what zero inputs would have multiplied,
// mostly a half or more, which is as much as a fifth to a quarter of the weights take.
constexpr double kMostWeights = 0.4;
constexpr double kMostBesideColumns = 0.25;
// For one row of floats, whose lists take eight cycles for eight weights; twice that once the dense
// weights no longer stay in the cache. Slots of bytes pay wherever many rows do.
constexpr double kMostFloatsOfARow = 0.15;
constexpr int64_t kCacheBytes = 8 << 20;

// Where there are no slices, fewer rows than this go through dense panels.
constexpr int64_t kLeastRows = 16;
// Where there are, up to so many rows go one by one.
constexpr int64_t kFewRows = 2;

// What GemmKernel::tiles is.
struct SparseGemm {
  const SparseTiles* tiles;
  const GemmKernel* dense;
  double most_for_slices;  // of weights in the cache
};

const SparseGemm& gemm_of(const GemmKernel& kernel) {
  return *static_cast<const SparseGemm*>(kernel.tiles);
}
const SparseTiles& tiles_of(const GemmKernel& kernel) { return *gemm_of(kernel).tiles; }

SparsePacking packing_of(const GemmKernel& kernel, const GemmWeights& w) {
  const bool cached = w.n * w.k * dtype_bytes(w.type) <= kCacheBytes;
  return {.tiles = &tiles_of(kernel),
          .most_for_slices = gemm_of(kernel).most_for_slices * (cached ? 1 : 2)};
}

const char* refuse_weights(const GemmProblem& p, const GemmKernel& columns) {
  if (p.weight_density > kMostWeights) return "more than 40 % of the weights are not zero";
  if (p.weight_density > kMostBesideColumns && columns.refuse(p) == nullptr) {
    return "more than 25 % of the weights are not zero, and many inputs are";
  }
  // Places in the packed weights are 32 bits.
  return p.n > 0 && p.k > (int64_t{1} << 30) / p.n ? "more than 2^30 weights" : nullptr;
}

const char* refuse_f32(const GemmProblem& p) {
  if (p.weights_type != DType::kFloat32) return "weights are not float32";
  return refuse_weights(p, gemm_f32_columns_avx2);
}

const char* refuse_u8s8(const GemmProblem& p) {
  if (p.weights_type != DType::kInt8) return "weights are not int8";
  return refuse_weights(p, gemm_u8s8_columns_avx2);
}

int64_t sparse_bytes(const GemmKernel& kernel, const GemmWeights& w, const SparseCounts& counts) {
  return sparse_parts({w.n, w.k}, counts, tiles_of(kernel), dtype_bytes(w.type), nullptr).bytes;
}

int64_t packed_bytes(const GemmKernel& kernel, const GemmWeights& w) {
  const SparseCounts counts = sparse_count(w, packing_of(kernel, w));
  const GemmKernel& dense = *gemm_of(kernel).dense;
  return sparse_bytes(kernel, w, counts) + (counts.slices ? 0 : dense.packed_bytes(dense, w));
}

void pack(const GemmKernel& kernel, const GemmWeights& w, std::byte* packed) {
  const SparsePacking how = packing_of(kernel, w);
  const SparseCounts counts = sparse_count(w, how);
  sparse_pack(w, how, counts, packed);
  const GemmKernel& dense = *gemm_of(kernel).dense;
  if (!counts.slices) dense.pack(dense, w, packed + sparse_bytes(kernel, w, counts));
}

// Rows that are transposed and multiplied at a time: their copy stays in the last-level cache.
constexpr int64_t kChunkRows = 384;

// Scratch: the source widened to float32, where it has sixteen bits; then for few rows of bytes a
// copy of them, beyond which a window may be read; for many rows a chunk's row pointers and what
// multiply_sparse_rows() needs.
struct Scratch {
  int64_t widened = 0;
  int64_t copied = 0;  // few rows of bytes
  int64_t pointers = 0;
};

int64_t copied_row_bytes(const GemmProblem& p) { return round_up_64(p.k + kSlotWindow); }

Scratch scratch_of(const GemmProblem& p) {
  Scratch s;
  const bool floats = p.weights_type == DType::kFloat32;
  if (floats && p.src_type != DType::kFloat32) s.widened = round_up_64(p.m * p.k * 4);
  if (p.m > kFewRows) {
    s.pointers = round_up_64(std::min(p.m, kChunkRows) * 8);
  } else if (!floats) {
    s.copied = p.m * copied_row_bytes(p);
  }
  return s;
}

int64_t scratch_bytes(const GemmKernel& kernel, const GemmProblem& p, int threads) {
  const Scratch s = scratch_of(p);
  const int64_t rows = std::min(p.m, kChunkRows);
  const int64_t own = s.widened + s.copied + s.pointers +
                      sparse_rows_scratch(tiles_of(kernel), {p.n, p.k}, rows, threads);
  const GemmKernel& dense = *gemm_of(kernel).dense;
  return p.m < kLeastRows ? std::max(own, dense.scratch_bytes(dense, p, threads)) : own;
}

// What the tasks of one run share.
struct Run {
  const SparseTiles& tiles;
  const GemmProblem& problem;
  const GemmArgs& args;
  SparseShape shape;
  SparseParts parts;
  const std::byte* src;  // float32 or uint8
  int64_t src_stride;    // elements
};

FinishArgs finish_of(const Run& run) {
  FinishArgs finish{};
  finish.epilogue = &run.args.epilogue;
  finish.dst_type = stored_type(run.problem.dst_type);
  finish.dst = run.args.dst;
  finish.dst_stride = run.args.dst_stride;
  return finish;
}

void run_few(const Run& run, std::byte* copied, ThreadPool& pool) {
  const int64_t m = run.problem.m;
  const int64_t block = run.shape.block();
  const int64_t slices = block / kSparseSlice;
  const void* rows[kFewRows] = {};
  for (int64_t r = 0; r < m; ++r) {
    if (run.tiles.src_bytes == 4) {
      rows[r] = run.src + r * run.src_stride * 4;
      continue;
    }
    std::byte* copy = copied + r * copied_row_bytes(run.problem);
    rows[r] = copy;
    std::fill_n(std::copy_n(run.src + r * run.src_stride, run.problem.k, copy), kSlotWindow,
                std::byte{0});
  }
  pool.run(m * run.shape.blocks(), [&](int64_t task, int) {
    const int64_t r = task % m;
    const int64_t b = task / m;
    alignas(64) int32_t sorted[kSparseBlock];
    alignas(64) int32_t sums[kSparseBlock];
    run.tiles.row({rows[r], slices, run.parts.slice_starts + b * slices, run.parts.slice_depths,
                   run.parts.slice_places, run.parts.slice_weights, sorted});
    for (int64_t i = 0; i < block; ++i) sums[run.parts.order[b * block + i]] = sorted[i];
    FinishArgs finish = finish_of(run);
    finish.sums = sums;
    finish.sums_stride = kSparseBlock;
    finish.rows = 1;
    finish.columns = run.shape.outputs(b);
    finish.first_row = r;
    finish.first_column = b * block;
    run.tiles.dense->finish(finish);
  });
}

void run_many(const Run& run, std::byte* scratch, int64_t pointers_bytes, ThreadPool& pool) {
  const GemmProblem& p = run.problem;
  const int64_t row_bytes = run.src_stride * (run.tiles.src_bytes == 4 ? 4 : 1);
  auto** rows = reinterpret_cast<const void**>(scratch);
  const int64_t tap_offset = 0;
  for (int64_t first = 0; first < p.m; first += kChunkRows) {
    const int64_t count = std::min(kChunkRows, p.m - first);
    for (int64_t r = 0; r < count; ++r) rows[r] = run.src + (first + r) * row_bytes;
    SparseProduct product{&run.tiles, run.shape, run.parts, finish_of(run)};
    product.finish.first_row = first;
    multiply_sparse_rows(product, {rows, count, &tap_offset, p.k}, scratch + pointers_bytes, pool);
  }
}

void run(const GemmKernel& kernel, const GemmProblem& p, const GemmArgs& args, ThreadPool& pool) {
  if (p.m == 0 || p.n == 0) return;
  const SparseTiles& tiles = tiles_of(kernel);
  const SparseShape shape{p.n, p.k};
  SparseCounts counts;
  std::memcpy(&counts, args.packed, sizeof(counts));
  if (p.m < kLeastRows && !counts.slices) {
    const GemmKernel& dense = *gemm_of(kernel).dense;
    GemmArgs its = args;
    its.packed += sparse_parts(shape, counts, tiles, dtype_bytes(p.weights_type), nullptr).bytes;
    dense.run(dense, p, its, pool);
    return;
  }
  Run r{tiles, p, args, shape,
        // Only read from here on.
        sparse_parts(shape, counts, tiles, dtype_bytes(p.weights_type),
                     const_cast<std::byte*>(args.packed)),
        static_cast<const std::byte*>(args.src), args.src_stride};
  const Scratch s = scratch_of(p);
  std::byte* scratch = args.scratch.data();
  if (s.widened > 0) {
    widen_source(*tiles.dense, p.src_type, r.src, args.src_stride * dtype_bytes(p.src_type), p.m,
                 p.k, reinterpret_cast<float*>(scratch), pool);
    r.src = scratch;
    r.src_stride = p.k;
    scratch += s.widened;
  }
  if (p.m <= kFewRows) {
    run_few(r, scratch, pool);
  } else {
    run_many(r, scratch, s.pointers, pool);
  }
}

}  // namespace

#define PARE_SPARSE_GEMM(types, isa, needs, packing, dense, most)                      \
  static const SparseGemm sparse_gemm_##types##_##isa = {&sparse_##types##_##isa,      \
                                                         &gemm_##dense##_##isa, most}; \
  const GemmKernel gemm_##types##_sparse_##isa = {"gemm_" #types "_sparse_" #isa,      \
                                                  needs,                               \
                                                  packing,                             \
                                                  refuse_##types,                      \
                                                  packed_bytes,                        \
                                                  pack,                                \
                                                  scratch_bytes,                       \
                                                  run,                                 \
                                                  &sparse_gemm_##types##_##isa};

PARE_SPARSE_GEMM(f32, avx512, kIsaAvx512, "lists or panels64", f32_6x64, kMostFloatsOfARow)
PARE_SPARSE_GEMM(u8s8, avx512, kIsaAvx512, "slots or quads64", u8s8_4x64, 1.0)
PARE_SPARSE_GEMM(f32, avx2, kIsaAvx2, "lists or panels16", f32_6x16, kMostFloatsOfARow)
PARE_SPARSE_GEMM(u8s8, avx2, kIsaAvx2, "slots or quads16", u8s8_4x16, 1.0)

#undef PARE_SPARSE_GEMM

}  // namespace pare
