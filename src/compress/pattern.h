// Sparsity patterns: which weights of a matrix may go together, and which go by their scores.
//
// The matrix is outputs × k, columns in channels_innermost() order (weight_matrix.h).
//   none      any weight by itself
//   N:M       of every M neighbouring inputs of an output N are kept (2:4 is what NVIDIA's sparse
//             tensor cores take: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks")
//   Bx1       B neighbouring outputs lose an input together, or none of them does (block pruning)
//   k:64      of every 64 inputs of an output the same number is kept (Yao et al. 2019, "Balanced
//             Sparsity"); a last group of fewer inputs keeps its share, rounded
#ifndef PARE_COMPRESS_PATTERN_H_
#define PARE_COMPRESS_PATTERN_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "compress/weight_matrix.h"

namespace pare {

struct Pattern {
  enum class Kind { kNone, kFixed, kBlocks, kBalanced };
  Kind kind = Kind::kNone;
  int64_t kept = 0;   // kFixed: N
  int64_t group = 1;  // kFixed: M; kBalanced: 64; inputs
  int64_t block = 1;  // kBlocks: B; outputs
};

// The words that pattern_from_word() knows, for the option's list.
const std::vector<std::string>& pattern_words();
Pattern pattern_from_word(const std::string& word);

// Why the pattern cannot be laid over the matrix; empty if it can.
std::string pattern_misfit(const Pattern& pattern, const WeightMatrix& shape);

// How many of `size` weights go where the pattern decides it by itself (kFixed); else `wanted`.
int64_t pattern_count(const Pattern& pattern, int64_t size, int64_t wanted);

// What is to go from a matrix or from a stretch of its columns.
struct Removal {
  Pattern pattern;
  // Whether weights are compared within an output (or block of outputs) only, each losing the same
  // number up to one; else over all outputs.
  bool within_output = false;
  int64_t count = 0;  // weights: exact for kNone, to a whole block for kBlocks
  double share = 0;   // for kBalanced
};

// 1 for weights that are kept, rows × columns. The smallest scores go, ties by position. `scores`:
// not negative; a block's is the sum of its weights' squares. For kFixed and kBalanced, `columns`
// begins with a whole group.
std::vector<uint8_t> keep_mask(std::span<const float> scores, int64_t rows, int64_t columns,
                               const Removal& removal);

}  // namespace pare

#endif  // PARE_COMPRESS_PATTERN_H_
