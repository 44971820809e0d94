// Second-order compression of a weight matrix, one column after the other: each column's error is
// made up for by those that are still to come.
//
// For outputs W x and G = sum of x x^T, replacing W by V costs tr((W-V) H (W-V)^T), H = G + λI. Let
// U be the upper Cholesky factor of the inverse, H^-1 = U^T U. Column j settled to v with w what it
// has become, e = (w - v) / U[j][j] is its error, and the best that the columns behind can do is
//   w[l] -= e · U[j][l]        for all l > j
// The cost is then exactly the sum of e². (Hassibi and Stork 1993, "Optimal Brain Surgeon"; this
// form, all outputs in one order of columns, in Frantar et al. 2022, "GPTQ", section 3, and Frantar
// and Alistarh 2023, "SparseGPT", section 3.)
#ifndef PARE_COMPRESS_COLUMN_SOLVER_H_
#define PARE_COMPRESS_COLUMN_SOLVER_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "pare/status.h"

#include "base/thread_pool.h"

namespace pare {

// As in both papers' programs.
constexpr double kDamping = 0.01;
constexpr int64_t kBlockColumns = 128;

struct InverseFactor {
  int64_t k = 0;
  std::vector<float> u;    // k × k, row-major, upper triangle; zero below
  double lambda = 0;       // of the diagonal, what was added
  bool no_inputs = false;  // G was zero: U is the identity, and nothing makes up for anything
  float diagonal(int64_t j) const { return u[static_cast<size_t>(j * k + j)]; }
};

// `gram`: k × k, row-major, of which the upper triangle is read; column c of the factor is
// order[c] of it. λ is `damping` times the mean of the diagonal; where that leaves H not positive
// definite to rounding, ten times as much, up to three times. An input that is always zero has λ
// alone on its diagonal: it costs next to nothing and makes up for nothing. kNumeric when G is not
// finite or not positive semidefinite. Computed in double, 24 k² bytes while at work.
Result<InverseFactor> invert_gram(std::span<const double> gram, int64_t k,
                                  std::span<const int64_t> order, double damping, ThreadPool& pool);

struct ColumnRule {
  int64_t block = kBlockColumns;
  // Called before the columns [first, last) of a block are settled, with all rows × k weights as
  // they have become. May be empty.
  std::function<void(std::span<const float> weights, int64_t first, int64_t last)> begin_block;
  // What a weight settles to, being `w` now. Called by several threads, for different rows.
  std::function<float(int64_t row, int64_t column, float w)> settle;
};

// Settles all columns of weights (rows × k) and returns each row's cost, the sum of e². The same
// bits for any number of threads.
std::vector<double> settle_columns(std::span<float> weights, int64_t rows,
                                   const InverseFactor& factor, const ColumnRule& rule,
                                   ThreadPool& pool);

}  // namespace pare

#endif  // PARE_COMPRESS_COLUMN_SOLVER_H_
