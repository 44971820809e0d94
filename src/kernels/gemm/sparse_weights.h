// Weights of a dense layer without their zeros, packed once (sparse.h says who reads what).
//
// The outputs are cut into blocks, k for many rows into stretches. The packed form holds, each part
// aligned to 64 bytes:
//   header          SparseCounts
//   row_starts      uint32 [blocks * stretches * block + 1]     for many rows:
//   depths          uint8 [entries]                             k's place in its stretch
//   row_weights     T [entries]                                 float or int8
//   slice_starts    uint32 [blocks * block / slice + 1]         for one row; in steps of a slice
//   order           uint8 [blocks * block]                      the output of the block at a place
//   slice_depths    uint16                                      k; slots: [steps], their windows
//   slice_places    uint8                                       slots only
//   slice_weights   T
// where floats have [steps][slice], bytes [steps][slots] (sparse_slots.h): for a weight that is not
// zero 16 bytes, or 2 and what its slots take, which is 3 to 5. The outputs of a block are sorted
// by the number of their weights, so that those of a slice have about as many. Where more than
// `most_for_slices` of the weights are not zero, or k is beyond sixteen bits, the last five are
// left out: one row goes through dense panels, which the caller packs behind the others.
#ifndef PARE_KERNELS_GEMM_SPARSE_WEIGHTS_H_
#define PARE_KERNELS_GEMM_SPARSE_WEIGHTS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/gemm/gemm.h"
#include "kernels/gemm/sparse.h"

namespace pare {

struct SparseCounts {
  bool slices = false;  // the last five parts are there
  int64_t steps = 0;    // of all slices
  int64_t entries = 0;  // of all rows, padded with zeros to whole pairs for integers
};

// What follows from the sizes alone. A dense layer has eight blocks for many rows where there are
// outputs enough, as many tasks as cut_tasks() wants; a convolution fewer and larger ones, since
// each reads all of its transposed source, and that has few rows.
struct SparseShape {
  int64_t n = 0;
  int64_t k = 0;
  bool convolution = false;

  int64_t block() const {
    const int64_t even = (n / (convolution ? 4 : 8) + 15) / 16 * 16;
    return std::clamp<int64_t>(even, convolution ? 64 : 32, kSparseBlock);
  }
  int64_t blocks() const { return (n + block() - 1) / block(); }
  int64_t stretches() const { return (k + kSparseStretch - 1) / kSparseStretch; }
  int64_t outputs(int64_t b) const { return std::min(block(), n - b * block()); }
  int64_t depth(int64_t s) const { return std::min(kSparseStretch, k - s * kSparseStretch); }
};

// The parts of packed weights.
struct SparseParts {
  uint32_t* row_starts = nullptr;
  uint8_t* depths = nullptr;
  std::byte* row_weights = nullptr;
  uint32_t* slice_starts = nullptr;
  uint8_t* order = nullptr;
  uint16_t* slice_depths = nullptr;
  uint8_t* slice_places = nullptr;
  std::byte* slice_weights = nullptr;
  int64_t bytes = 0;
};
SparseParts sparse_parts(const SparseShape& shape, const SparseCounts& counts,
                         const SparseTiles& tiles, int64_t weight_bytes, std::byte* packed);

// The weights are float32 or int8.
struct SparsePacking {
  const SparseTiles* tiles = nullptr;
  bool convolution = false;  // SparseShape's
  double most_for_slices = 1.0;
};
SparseCounts sparse_count(const GemmWeights& weights, const SparsePacking& how);
void sparse_pack(const GemmWeights& weights, const SparsePacking& how, const SparseCounts& counts,
                 std::byte* packed);

}  // namespace pare

#endif  // PARE_KERNELS_GEMM_SPARSE_WEIGHTS_H_
