// Many rows of a source by weights without their zeros (sparse.h): dense layers, and convolutions,
// whose rows are output pixels.
#ifndef PARE_KERNELS_GEMM_SPARSE_ROWS_H_
#define PARE_KERNELS_GEMM_SPARSE_ROWS_H_

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/gemm/sparse_weights.h"

namespace pare {

// Rows as tile.h has them: element k of tap t stands at rows[r] + tap_offsets[t] bytes, element k %
// tap_k of it. float32 or uint8.
struct SparseSource {
  const void* const* rows = nullptr;
  int64_t count = 0;
  const int64_t* tap_offsets = nullptr;
  int64_t tap_k = 0;
};

struct SparseProduct {
  const SparseTiles* tiles = nullptr;
  SparseShape shape;
  SparseParts parts;
  // epilogue, dst, its type and stride, first_row; the rest is filled in.
  FinishArgs finish{};
};

int64_t sparse_rows_scratch(const SparseTiles& tiles, const SparseShape& shape, int64_t rows,
                            int threads);
// `scratch` is sparse_rows_scratch() bytes, 64-byte aligned.
void multiply_sparse_rows(const SparseProduct& product, const SparseSource& source,
                          std::byte* scratch, ThreadPool& pool);

}  // namespace pare

#endif  // PARE_KERNELS_GEMM_SPARSE_ROWS_H_
