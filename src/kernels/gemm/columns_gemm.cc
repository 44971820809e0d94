// Dense layers whose source follows a ReLU: columns of weights whose input is zero are not read
// (columns.h).
#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "kernels/gemm/column_weights.h"
#include "kernels/gemm/variants.h"

namespace pare {
namespace {

// Weights smaller than this stay in the cache (docs/results/cpu.md): there the dense row of floats,
// which leaves out zeros line by line, is as fast, while bytes gain from half a megabyte on.
constexpr int64_t kLeastFloatBytes = 8 << 20;
constexpr int64_t kLeastBytes = 256 << 10;
// Columns shorter than this are too short to be fetched in one go.
constexpr int64_t kLeastColumn = 256;
// Several rows go one by one over a stretch of columns, which stays in the second-level cache
// beside their sums. One row alone takes pieces of columns as long as can be.
constexpr int64_t kStretchBytes = 128 << 10;
constexpr int64_t kPieceBytes = 2048;
constexpr int64_t kLongPieceBytes = 4096;  // for up to kFewRows, whose sums are few
constexpr int64_t kFewRows = 16;
constexpr int64_t kBlockRows = 64;
// The first rows of a stretch bring most of its columns into the cache; asking again takes time.
constexpr int64_t kFetchingRows = 3;
// Floats: rows at most. With more, hardly an input is zero in all of them, and tiles on panels are
// faster: 8 rows took 1.5 times as long by columns of which four tenths are live.
constexpr int64_t kMostFloatRows = 4;
// Bytes: from so many rows on tiles may multiply a block of columns, zeros and all, made into
// panels that stay in the cache: where more than one input in kByteCost is live, which is how many
// times as long an input takes by its column as in a tile.
constexpr int64_t kLeastRows = 5;
constexpr int64_t kPanelBytes = 128 << 10;
constexpr double kByteCost = 2.0;

const ColumnTiles& tiles_of(const GemmKernel& kernel) {
  return *static_cast<const ColumnTiles*>(kernel.tiles);
}

ColumnLayout layout_of(const GemmProblem& p) { return {p.n, p.k, p.weights_type}; }

const char* refuse(const GemmProblem& p, DType type, const char* other_type) {
  if (p.weights_type != type) return other_type;
  if (!p.sparse_src) return "the source follows no ReLU";
  if (type != DType::kInt8 && p.m > kMostFloatRows) return "more than 4 rows";
  const ColumnLayout layout = layout_of(p);
  if (layout.tail_offset() < kLeastBytes) return "less than 256 KB of weights";
  if (type != DType::kInt8 && layout.tail_offset() < kLeastFloatBytes) {
    return "less than 8 MB of weights";
  }
  return layout.stride() < kLeastColumn ? "less than 256 bytes of weights for an input" : nullptr;
}

void unpack(const GemmWeights& w, const std::byte* packed, std::byte* dense) {
  unpack_columns({w.n, w.k, w.type}, packed, dense);
}

const char* refuse_f32(const GemmProblem& p) {
  return refuse(p, DType::kFloat32, "weights are not float32");
}
const char* refuse_bf16(const GemmProblem& p) {
  return refuse(p, DType::kBFloat16, "weights are not bfloat16");
}
const char* refuse_f16(const GemmProblem& p) {
  return refuse(p, DType::kFloat16, "weights are not float16");
}
const char* refuse_u8s8(const GemmProblem& p) {
  return refuse(p, DType::kInt8, "weights are not int8");
}

int64_t packed_bytes(const GemmKernel&, const GemmWeights& w) {
  return ColumnLayout{w.n, w.k, w.type}.bytes();
}

void pack(const GemmKernel&, const GemmWeights& w, std::byte* packed) {
  pack_columns({w.n, w.k, w.type}, w, packed);
}

// Scratch: the source widened to float32, where it has sixteen bits; what is not zero of each row;
// each worker's sums.
struct Scratch {
  int64_t widened = 0;
  int64_t values = 0;  // of a row
  int64_t index = 0;   // likewise
  int64_t sums = 0;    // of a worker
  int64_t panels = 0;  // likewise
  int64_t rows = 0;    // likewise

  int64_t of_worker() const { return sums + panels + rows; }
};

// Bytes of a column in a piece or a block.
int64_t piece_bytes(const GemmProblem& p) {
  return p.m <= kFewRows ? kLongPieceBytes : kPieceBytes;
}
// The outputs and the depth of a block.
int64_t block_outputs(const GemmProblem& p) {
  const int64_t outputs = piece_bytes(p) / dtype_bytes(p.weights_type);
  // Eight blocks or more, so that there is work for several cores.
  const int64_t eighth = (p.n / 8 + 63) / 64 * 64;
  return std::min(outputs, p.m <= kFewRows ? std::max<int64_t>(512, eighth) : 512);
}
int64_t block_depth(const GemmProblem& p) { return kPanelBytes / block_outputs(p); }
// Elements from row to row of the copied source: off a power of two.
int64_t row_stride(const GemmProblem& p) { return block_depth(p) + 16; }

// Elements from row to row of the sums of a piece or a block.
int64_t sums_stride(const GemmProblem& p) {
  if (p.m == 1) return kMaxPiece;
  return piece_bytes(p) / dtype_bytes(p.weights_type);
}

Scratch scratch_of(const GemmProblem& p) {
  Scratch s;
  const bool floats = p.weights_type != DType::kInt8;
  if (floats && p.src_type != DType::kFloat32) s.widened = round_up_64(p.m * p.k * 4);
  s.values = round_up_64(p.k * (floats ? 4 : 2));
  s.index = round_up_64(p.k * 4);
  const int64_t rows = std::min(p.m, kBlockRows);
  s.sums = rows * sums_stride(p) * 4;
  if (floats || p.m < kLeastRows) return s;
  s.panels = kPanelBytes;
  s.rows = round_up_64(rows * row_stride(p) * 2);
  return s;
}

int64_t scratch_bytes(const GemmKernel&, const GemmProblem& p, int threads) {
  const Scratch s = scratch_of(p);
  return s.widened + p.m * (s.values + s.index) + threads * s.of_worker();
}

// What the tasks of one run share.
struct Run {
  const ColumnTiles& tiles;
  const GemmProblem& problem;
  const GemmArgs& args;
  ColumnLayout layout;
  Scratch parts;
  int64_t sums_stride;
  const std::byte* src;  // float32 or uint8
  int64_t src_stride;    // bytes
  std::byte* lists;      // of inputs that are not zero, [m][values, index]
  std::byte* workers;    // each worker's sums, panels and rows
};

// The inputs of one row that are not zero.
struct LiveInputs {
  std::byte* values;
  int32_t* index;
  int64_t count = 0;
};

// An infinite weight times zero is no zero: its column counts.
void collect_floats(const float* row, const std::byte* infinite, int64_t k, LiveInputs& live) {
  auto* values = reinterpret_cast<float*>(live.values);
  for (int64_t i = 0; i < k; ++i) {
    values[live.count] = row[i];
    live.index[live.count] = static_cast<int32_t>(i);
    live.count += row[i] != 0.0F || infinite[i] != std::byte{0} ? 1 : 0;
  }
}

void collect_bytes(const uint8_t* row, int32_t zero_point, int64_t k, LiveInputs& live) {
  auto* values = reinterpret_cast<int16_t*>(live.values);
  for (int64_t i = 0; i < k; ++i) {
    values[live.count] = static_cast<int16_t>(row[i] - zero_point);
    live.index[live.count] = static_cast<int32_t>(i);
    live.count += row[i] != zero_point ? 1 : 0;
  }
}

LiveInputs collect(const Run& run, int64_t row) {
  std::byte* memory = run.lists + row * (run.parts.values + run.parts.index);
  LiveInputs live{memory, reinterpret_cast<int32_t*>(memory + run.parts.values)};
  const std::byte* src = run.src + row * run.src_stride;
  if (run.layout.type == DType::kInt8) {
    collect_bytes(reinterpret_cast<const uint8_t*>(src), run.args.src_zero_point, run.problem.k,
                  live);
  } else {
    collect_floats(reinterpret_cast<const float*>(src), run.args.packed + run.layout.tail_offset(),
                   run.problem.k, live);
  }
  return live;
}

// Some lines of all columns for some rows.
struct Piece {
  int64_t first_row;
  int64_t rows;
  int64_t first_line;
  int64_t lines;
};

// sums[rows][run.sums_stride] of the columns that are live.
void add_columns(const Run& run, const LiveInputs* live, const Piece& piece, int32_t* sums) {
  const int64_t value_bytes = run.layout.type == DType::kInt8 ? 2 : 4;
  const int64_t k = run.problem.k;
  ColumnArgs args{};
  args.columns = reinterpret_cast<const char*>(run.args.packed) + piece.first_line * kColumnLine;
  args.stride = run.layout.stride();
  args.lines = piece.lines;
  const int64_t stretch =
      piece.rows == 1 ? k : std::max<int64_t>(1, kStretchBytes / (piece.lines * kColumnLine));
  int64_t done[kBlockRows] = {};
  for (int64_t end = stretch; end < k + stretch; end += stretch) {
    for (int64_t r = 0; r < piece.rows; ++r) {
      const LiveInputs& its = live[piece.first_row + r];
      const int32_t* last = its.index + its.count;
      args.index = its.index + done[r];
      args.count = std::lower_bound(args.index, last, end) - args.index;
      args.values = its.values + done[r] * value_bytes;
      args.sums = sums + r * run.sums_stride;
      args.fetch = r < kFetchingRows;
      if (args.count > 0) run.tiles.add(args);
      done[r] += args.count;
    }
  }
}

void finish(const Run& run, int64_t first_row, int64_t rows, int64_t first, int64_t outputs,
            const void* sums) {
  FinishArgs args{};
  args.sums = sums;
  args.sums_stride = run.sums_stride;
  args.rows = rows;
  args.columns = outputs;
  args.epilogue = &run.args.epilogue;
  args.first_row = first_row;
  args.first_column = first;
  args.dst_type = stored_type(run.problem.dst_type);
  args.dst = run.args.dst;
  args.dst_stride = run.args.dst_stride;
  run.tiles.dense->finish(args);
}

// What was left out of each sum of bytes, and their order.
void complete_bytes(const Run& run, const Piece& piece, int64_t outputs, int32_t* sums) {
  const auto* all = reinterpret_cast<const int32_t*>(run.args.packed + run.layout.tail_offset());
  const int32_t zero_point = run.args.src_zero_point;
  for (int64_t r = 0; r < piece.rows; ++r, sums += run.sums_stride) {
    run.tiles.put_in_order(sums, piece.lines);
    if (zero_point == 0) continue;
    const int32_t* its = all + piece.first_line * run.layout.line_outputs();
    for (int64_t n = 0; n < outputs; ++n) sums[n] += zero_point * its[n];
  }
}

void run_piece(const Run& run, const LiveInputs* live, const Piece& piece, int32_t* sums) {
  const int64_t stored = piece.lines * run.layout.line_outputs();
  const int64_t first = piece.first_line * run.layout.line_outputs();
  const int64_t outputs = std::min(stored, run.problem.n - first);
  for (int64_t r = 0; r < piece.rows; ++r) std::fill_n(sums + r * run.sums_stride, stored, 0);
  add_columns(run, live, piece, sums);
  if (run.layout.type == DType::kInt8) complete_bytes(run, piece, outputs, sums);
  finish(run, piece.first_row, piece.rows, first, outputs, sums);
}

// How many pieces the lines are cut into: at least one a thread. An output's sum has one order
// whichever piece it is in.
int64_t count_pieces(const ColumnLayout& layout, const GemmProblem& p, int threads) {
  const int64_t lines = layout.lines();
  const int64_t most = p.m == 1 ? kMaxPiece / layout.line_outputs() : piece_bytes(p) / kColumnLine;
  const int64_t least = (lines + most - 1) / most;
  const int64_t bytes = lines * kColumnLine;
  const int64_t wanted = std::max<int64_t>(threads, bytes / kLongPieceBytes);
  return std::max(least, std::clamp<int64_t>(bytes / kLeastColumn, 1, wanted));
}

void run_pieces(const Run& run, const LiveInputs* live, ThreadPool& pool) {
  const int64_t m = run.problem.m;
  const int64_t blocks = (m + kBlockRows - 1) / kBlockRows;
  const int64_t pieces = count_pieces(run.layout, run.problem, pool.threads());
  const int64_t lines = run.layout.lines();
  pool.run(blocks * pieces, [&](int64_t task, int worker) {
    const int64_t i = task % pieces;
    const int64_t b = task / pieces;
    const int64_t row = m * b / blocks;
    const int64_t line = lines * i / pieces;
    auto* sums = reinterpret_cast<int32_t*>(run.workers + worker * run.parts.of_worker());
    run_piece(run, live, {row, m * (b + 1) / blocks - row, line, lines * (i + 1) / pieces - line},
              sums);
  });
}

// The block's elements of some rows side by side: where they stand, a power of two apart, they
// would push each other out of the cache. As words where tiles take them.
bool copy_rows(const Run& run, const ColumnBlock& block, int64_t first_row, int64_t count,
               std::byte* dst) {
  const TileSet& tiles = *run.tiles.dense;
  const bool wide = tiles.wide != nullptr && count >= tiles.wide->least_rows;
  const int64_t stride = row_stride(run.problem);
  for (int64_t r = 0; r < count; ++r) {
    const std::byte* src = run.src + (first_row + r) * run.src_stride + block.first_k;
    if (wide) {
      auto* words = reinterpret_cast<int16_t*>(dst) + r * stride;
      tiles.wide->widen(reinterpret_cast<const uint8_t*>(src), words, block.depth);
      std::fill_n(words + block.depth, 4, int16_t{0});  // to the end of a group
    } else {
      std::memcpy(dst + r * stride, src, static_cast<size_t>(block.depth));
    }
  }
  return wide;
}

// Some rows by the outputs of `block`, over the whole depth. While a block is multiplied the next
// one is fetched.
void multiply_block(const Run& run, ColumnBlock block, int64_t first_row, int64_t count,
                    std::byte* memory) {
  const int64_t k = run.problem.k;
  const int64_t depth = block_depth(run.problem);
  std::byte* panels = memory + run.parts.sums;
  std::byte* copied = panels + run.parts.panels;
  const void* rows[kBlockRows];
  const int64_t no_offset = 0;
  PanelRows those{rows, count, &no_offset};
  for (; block.first_k < k; block.first_k += depth) {
    block.depth = std::min(depth, k - block.first_k);
    const PanelLayout layout{run.tiles.dense, block.outputs, 1, block.depth};
    columns_to_quads(run.layout, run.args.packed, block, layout, panels);
    those.wide = copy_rows(run, block, first_row, count, copied);
    those.accumulate = block.first_k > 0;
    const int64_t row_bytes = row_stride(run.problem) * (those.wide ? 2 : 1);
    for (int64_t r = 0; r < count; ++r) rows[r] = copied + r * row_bytes;
    const int64_t coming = std::min(depth, k - block.first_k - block.depth);
    const int64_t parts = layout.panels();
    for (int64_t p = 0; p < parts; ++p) {
      prefetch_columns(run.layout, run.args.packed, block, block.depth + coming * p / parts,
                       block.depth + coming * (p + 1) / parts);
      multiply_panel(layout, panels, p, those, memory + p * layout.width() * 4, run.sums_stride);
    }
  }
  finish(run, first_row, count, block.first, block.outputs, memory);
}

void run_blocks(const Run& run, ThreadPool& pool) {
  const int64_t m = run.problem.m;
  const int64_t n = run.problem.n;
  const int64_t outputs = block_outputs(run.problem);
  const int64_t row_blocks = (m + kBlockRows - 1) / kBlockRows;
  const int64_t blocks = (n + outputs - 1) / outputs;
  pool.run(row_blocks * blocks, [&](int64_t task, int worker) {
    const int64_t first_row = m * (task / blocks) / row_blocks;
    const int64_t count = m * (task / blocks + 1) / row_blocks - first_row;
    const int64_t first = task % blocks * outputs;
    multiply_block(run, {first, std::min(outputs, n - first)}, first_row, count,
                   run.workers + worker * run.parts.of_worker());
  });
}

// Whether tiles are faster than leaving out the inputs that are not live. The sums are the same.
bool is_dense(const Run& run, std::span<const LiveInputs> live) {
  if (run.layout.type != DType::kInt8 || run.problem.m < kLeastRows) return false;
  int64_t count = 0;
  for (const LiveInputs& row : live) count += row.count;
  return kByteCost * static_cast<double>(count) >
         static_cast<double>(run.problem.m * run.problem.k);
}

void run(const GemmKernel& kernel, const GemmProblem& p, const GemmArgs& args, ThreadPool& pool) {
  if (p.m == 0 || p.n == 0) return;
  Run r{tiles_of(kernel),
        p,
        args,
        layout_of(p),
        scratch_of(p),
        sums_stride(p),
        static_cast<const std::byte*>(args.src),
        args.src_stride * dtype_bytes(p.src_type),
        args.scratch.data(),
        nullptr};
  if (r.parts.widened > 0) {
    widen_source(*r.tiles.dense, p.src_type, r.src, r.src_stride, p.m, p.k,
                 reinterpret_cast<float*>(r.lists), pool);
    r.src = r.lists;
    r.src_stride = p.k * 4;
    r.lists += r.parts.widened;
  }
  r.workers = r.lists + p.m * (r.parts.values + r.parts.index);
  std::vector<LiveInputs> live(static_cast<size_t>(p.m));
  pool.run(p.m, [&](int64_t row, int) { live[static_cast<size_t>(row)] = collect(r, row); });
  if (is_dense(r, live)) {
    run_blocks(r, pool);
  } else {
    run_pieces(r, live.data(), pool);
  }
}

}  // namespace

#define PARE_COLUMNS_GEMM(types, isa, needs)                                        \
  const GemmKernel gemm_##types##_columns_##isa = {"gemm_" #types "_columns_" #isa, \
                                                   needs,                           \
                                                   "columns",                       \
                                                   refuse_##types,                  \
                                                   packed_bytes,                    \
                                                   pack,                            \
                                                   scratch_bytes,                   \
                                                   run,                             \
                                                   &columns_##types##_##isa,        \
                                                   unpack};

PARE_COLUMNS_GEMM(f32, avx512, kIsaAvx512)
PARE_COLUMNS_GEMM(bf16, avx512, kIsaAvx512)
PARE_COLUMNS_GEMM(f16, avx512, kIsaAvx512)
PARE_COLUMNS_GEMM(u8s8, avx512, kIsaAvx512)
PARE_COLUMNS_GEMM(u8s8, avx512_vnni, kIsaAvx512 | kIsaAvx512Vnni)
PARE_COLUMNS_GEMM(f32, avx2, kIsaAvx2)
PARE_COLUMNS_GEMM(bf16, avx2, kIsaAvx2)
PARE_COLUMNS_GEMM(f16, avx2, kIsaAvx2)
PARE_COLUMNS_GEMM(u8s8, avx2, kIsaAvx2)

#undef PARE_COLUMNS_GEMM

}  // namespace pare
