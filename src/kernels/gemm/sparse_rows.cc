#include "kernels/gemm/sparse_rows.h"

#include <emmintrin.h>

#include <cstring>

#include "kernels/gemm/panels.h"

namespace pare {
namespace {

// How the rows are cut: units of row_unit, blocks of as even a number of units as can be.
struct RowBlocks {
  int64_t unit = 1;
  int64_t units = 0;
  int64_t blocks = 0;

  int64_t first_unit(int64_t i) const { return units * i / blocks; }
  int64_t first_row(int64_t i) const { return first_unit(i) * unit; }
  int64_t units_of(int64_t i) const { return first_unit(i + 1) - first_unit(i); }
};

RowBlocks cut_rows(const SparseTiles& tiles, int64_t m) {
  RowBlocks rows;
  rows.unit = tiles.row_unit;
  rows.units = (m + rows.unit - 1) / rows.unit;
  rows.blocks = (rows.units + tiles.max_units - 1) / tiles.max_units;
  return rows;
}

// Sums of one worker: of a block by a block of rows.
int64_t sums_bytes(const SparseTiles& tiles, const RowBlocks& rows) {
  return round_up_64(kSparseBlock * std::min<int64_t>(rows.units, tiles.max_units) * rows.unit * 4);
}

// `rows` rows of the source, a multiple of eight; beyond the last one there, that again.
struct SourceRows {
  const void* const* rows;
  int64_t last;
  int64_t at;  // bytes

  template <typename T>
  const T* row(int64_t r) const {
    return reinterpret_cast<const T*>(static_cast<const std::byte*>(rows[std::min(r, last)]) + at);
  }
};

// dst[k][row] = element k of a row: four rows by four k at a time.
void transpose(const SourceRows& src, int64_t rows, int64_t depth, float* dst) {
  for (int64_t r = 0; r < rows; r += 4) {
    const float* s[4];
    for (int i = 0; i < 4; ++i) s[i] = src.row<float>(r + i);
    float* to = dst + r;
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4) {
      __m128 v[4];
      for (int i = 0; i < 4; ++i) v[i] = _mm_loadu_ps(s[i] + k);
      _MM_TRANSPOSE4_PS(v[0], v[1], v[2], v[3]);
      for (int i = 0; i < 4; ++i) _mm_storeu_ps(to + (k + i) * rows, v[i]);
    }
    for (; k < depth; ++k)
      _mm_storeu_ps(to + k * rows, _mm_setr_ps(s[0][k], s[1][k], s[2][k], s[3][k]));
  }
}

// The same of bytes as words: eight rows by eight k at a time.
void transpose(const SourceRows& src, int64_t rows, int64_t depth, int16_t* dst) {
  const __m128i zero = _mm_setzero_si128();
  for (int64_t r = 0; r < rows; r += 8) {
    const uint8_t* s[8];
    for (int i = 0; i < 8; ++i) s[i] = src.row<uint8_t>(r + i);
    int64_t k = 0;
    for (; k + 8 <= depth; k += 8) {
      const auto load = [&](int i) {
        return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(s[i] + k));
      };
      __m128i two[4];  // bytes of two rows in turn
      for (int i = 0; i < 4; ++i) two[i] = _mm_unpacklo_epi8(load(2 * i), load(2 * i + 1));
      const __m128i four[4] = {
          _mm_unpacklo_epi16(two[0], two[1]), _mm_unpackhi_epi16(two[0], two[1]),
          _mm_unpacklo_epi16(two[2], two[3]), _mm_unpackhi_epi16(two[2], two[3])};
      for (int i = 0; i < 2; ++i) {  // four k each
        const __m128i eight[2] = {_mm_unpacklo_epi32(four[i], four[i + 2]),
                                  _mm_unpackhi_epi32(four[i], four[i + 2])};
        for (int j = 0; j < 2; ++j) {
          int16_t* to = dst + (k + 4 * i + 2 * j) * rows + r;
          _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi8(eight[j], zero));
          _mm_storeu_si128(reinterpret_cast<__m128i*>(to + rows),
                           _mm_unpackhi_epi8(eight[j], zero));
        }
      }
    }
    for (; k < depth; ++k) {
      for (int i = 0; i < 8; ++i) dst[k * rows + r + i] = s[i][k];
    }
  }
}

// What the tasks of one product share.
struct Run {
  const SparseProduct& product;
  const SparseSource& source;
  RowBlocks rows;
  std::byte* transposed;
  std::byte* sums;
};

// A stretch of the source, [depth][rows of the block] for each block of rows.
void transpose_stretch(const Run& run, int64_t s) {
  const SparseShape& shape = run.product.shape;
  const SparseSource& source = run.source;
  const bool floats = run.product.tiles->src_bytes == 4;
  const int64_t last = s * kSparseStretch + shape.depth(s);
  for (int64_t i = 0; i < run.rows.blocks; ++i) {
    const int64_t first = run.rows.first_row(i);
    const int64_t rows = run.rows.units_of(i) * run.rows.unit;
    for (int64_t k = s * kSparseStretch; k < last;) {  // the part that one tap covers
      const int64_t tap = k / source.tap_k;
      const int64_t in_tap = k - tap * source.tap_k;
      const int64_t depth = std::min(last - k, source.tap_k - in_tap);
      const SourceRows src{source.rows + first, source.count - first - 1,
                           source.tap_offsets[tap] + in_tap * (floats ? 4 : 1)};
      const int64_t at = first * shape.k + k * rows;
      if (floats) {
        transpose(src, rows, depth, reinterpret_cast<float*>(run.transposed) + at);
      } else {
        transpose(src, rows, depth, reinterpret_cast<int16_t*>(run.transposed) + at);
      }
      k += depth;
    }
  }
}

// The row of the source whose sums are group `g` of four of an output's sums (SparseTiles).
int64_t first_row_of_group(const SparseTiles& tiles, int64_t g) {
  const int64_t in_unit = tiles.row_unit / 4;
  const int64_t unit = g / in_unit * in_unit;
  const int64_t i = g - unit;
  if (tiles.src_bytes == 4) return g * 4;
  return (unit + (i < in_unit / 2 ? 2 * i : 2 * i - in_unit + 1)) * 4;
}

// The sums of a block, [outputs][rows], to their places.
void finish_block(const Run& run, int64_t b, const float* sums, int64_t stride, int64_t first_row) {
  constexpr int64_t kOutputs = 32;
  alignas(64) float rows[kSparseMaxRows * kOutputs];
  const SparseShape& shape = run.product.shape;
  FinishArgs finish = run.product.finish;
  finish.sums = rows;
  finish.sums_stride = kOutputs;
  finish.rows = std::min(stride, run.source.count - first_row);
  finish.first_row += first_row;
  for (int64_t n = 0; n < shape.outputs(b); n += kOutputs) {
    finish.columns = std::min(kOutputs, shape.outputs(b) - n);
    finish.first_column = b * shape.block() + n;
    for (int64_t g = 0; g < stride / 4; ++g) {
      transpose_floats(sums + n * stride + g * 4, stride, finish.columns, 4,
                       rows + first_row_of_group(*run.product.tiles, g) * kOutputs, kOutputs);
    }
    run.product.tiles->dense->finish(finish);
  }
}

// One block of outputs by one block of rows.
void run_task(const Run& run, int64_t task, int worker) {
  const SparseTiles& tiles = *run.product.tiles;
  const SparseShape& shape = run.product.shape;
  const SparseParts& parts = run.product.parts;
  const int64_t b = task / run.rows.blocks;
  const int64_t i = task % run.rows.blocks;
  const int64_t stride = run.rows.units_of(i) * run.rows.unit;
  const int64_t worker_bytes = sums_bytes(tiles, run.rows);
  std::byte* sums = run.sums + worker * worker_bytes;
  const std::byte* src = run.transposed + run.rows.first_row(i) * shape.k * tiles.src_bytes;
  if (shape.k == 0) std::memset(sums, 0, static_cast<size_t>(worker_bytes));
  for (int64_t s = 0; s < shape.stretches(); ++s) {
    tiles.rows[run.rows.units_of(i) - 1](
        {src + s * kSparseStretch * stride * tiles.src_bytes, shape.outputs(b),
         parts.row_starts + (b * shape.stretches() + s) * shape.block(), parts.depths,
         parts.row_weights, sums, s > 0});
  }
  finish_block(run, b, reinterpret_cast<const float*>(sums), stride, run.rows.first_row(i));
}

int64_t transposed_bytes(const SparseTiles& tiles, const SparseShape& shape,
                         const RowBlocks& rows) {
  return round_up_64(rows.units * rows.unit * shape.k * tiles.src_bytes);
}

}  // namespace

int64_t sparse_rows_scratch(const SparseTiles& tiles, const SparseShape& shape, int64_t rows,
                            int threads) {
  const RowBlocks blocks = cut_rows(tiles, rows);
  return transposed_bytes(tiles, shape, blocks) + threads * sums_bytes(tiles, blocks);
}

void multiply_sparse_rows(const SparseProduct& product, const SparseSource& source,
                          std::byte* scratch, ThreadPool& pool) {
  const RowBlocks rows = cut_rows(*product.tiles, source.count);
  const Run run{product, source, rows, scratch,
                scratch + transposed_bytes(*product.tiles, product.shape, rows)};
  pool.run(product.shape.stretches(), [&](int64_t s, int) { transpose_stretch(run, s); });
  pool.run(product.shape.blocks() * rows.blocks,
           [&](int64_t task, int worker) { run_task(run, task, worker); });
}

}  // namespace pare
