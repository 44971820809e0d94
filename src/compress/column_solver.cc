#include "compress/column_solver.h"

#include <fmt/format.h>

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

namespace pare {
namespace {

using Doubles = Eigen::MatrixXd;
using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr int kTries = 4;
// Rows of a task: few enough that 256 outputs are four tasks, enough for a product's tiles.
constexpr int64_t kTaskRows = 64;

// G + λI with rows and columns in reverse `order`, lower triangle.
void fill_reversed(std::span<const double> gram, std::span<const int64_t> order, double lambda,
                   Doubles& h) {
  const auto k = static_cast<int64_t>(order.size());
  for (int64_t j = 0; j < k; ++j) {
    const int64_t b = order[static_cast<size_t>(k - 1 - j)];
    for (int64_t i = j; i < k; ++i) {
      const int64_t a = order[static_cast<size_t>(k - 1 - i)];
      h(i, j) = gram[static_cast<size_t>(std::min(a, b) * k + std::max(a, b))];
    }
    h(j, j) += lambda;
  }
}

// The inverse of lower-triangular `l` with rows and columns reversed, which is upper-triangular.
void invert_reversed(const Doubles& l, std::vector<float>& u, ThreadPool& pool) {
  const int64_t k = l.rows();
  constexpr int64_t kColumns = 64;
  pool.run((k + kColumns - 1) / kColumns, [&](int64_t task, int) {
    const int64_t first = task * kColumns;
    const int64_t width = std::min(kColumns, k - first);
    const int64_t below = k - first;
    Doubles x = Doubles::Identity(below, width);
    l.bottomRightCorner(below, below).triangularView<Eigen::Lower>().solveInPlace(x);
    for (int64_t j = 0; j < width; ++j)
      for (int64_t i = j; i < below; ++i)
        u[static_cast<size_t>((below - 1 - i) * k + below - 1 - j)] = static_cast<float>(x(i, j));
  });
}

InverseFactor identity(int64_t k) {
  InverseFactor factor;
  factor.k = k;
  factor.lambda = 1;
  factor.no_inputs = true;
  factor.u.assign(static_cast<size_t>(k * k), 0.0F);
  for (int64_t i = 0; i < k; ++i) factor.u[static_cast<size_t>(i * k + i)] = 1.0F;
  return factor;
}

// Settles columns [first, last) of one row; `errors`: those of the block.
double settle_row(float* row, int64_t index, int64_t first, int64_t last,
                  const InverseFactor& factor, const ColumnRule& rule, float* errors) {
  double cost = 0;
  for (int64_t j = first; j < last; ++j) {
    const float* u = factor.u.data() + j * factor.k;
    const float v = rule.settle(index, j, row[j]);
    const float e = (row[j] - v) / u[j];
    row[j] = v;
    errors[j - first] = e;
    cost += static_cast<double>(e) * static_cast<double>(e);
    if (e == 0.0F) continue;
    const int64_t left = last - j - 1;
    Eigen::Map<Eigen::VectorXf>(row + j + 1, left) -=
        e * Eigen::Map<const Eigen::VectorXf>(u + j + 1, left);
  }
  return cost;
}

}  // namespace

Result<InverseFactor> invert_gram(std::span<const double> gram, int64_t k,
                                  std::span<const int64_t> order, double damping,
                                  ThreadPool& pool) {
  double mean = 0;
  for (int64_t i = 0; i < k; ++i)
    mean += gram[static_cast<size_t>(i * k + i)] / static_cast<double>(k);
  if (!std::isfinite(mean) || mean < 0)
    return numeric_error(fmt::format(
        "a Gram matrix of {} inputs has the mean square {}, expected a finite one", k, mean));
  if (mean == 0) return identity(k);
  Doubles h(k, k);
  InverseFactor factor;
  factor.k = k;
  double lambda = damping * mean;
  for (int attempt = 0; attempt < kTries; ++attempt, lambda *= 10) {
    fill_reversed(gram, order, lambda, h);
    const Eigen::LLT<Eigen::Ref<Doubles>> llt(h);
    if (llt.info() != Eigen::Success) continue;
    factor.lambda = lambda;
    factor.u.assign(static_cast<size_t>(k * k), 0.0F);
    invert_reversed(h, factor.u, pool);
    bool usable = true;
    for (int64_t i = 0; i < k; ++i)
      usable = usable && std::isfinite(factor.diagonal(i)) && factor.diagonal(i) > 0;
    if (usable) return factor;
  }
  return numeric_error(
      fmt::format("a Gram matrix of {} inputs is not positive semidefinite (damped by up to {:.3g} "
                  "of its mean)",
                  k, lambda / 10 / mean));
}

std::vector<double> settle_columns(std::span<float> weights, int64_t rows,
                                   const InverseFactor& factor, const ColumnRule& rule,
                                   ThreadPool& pool) {
  const int64_t k = factor.k;
  const Eigen::Map<const Floats> u(factor.u.data(), k, k);
  std::vector<double> cost(static_cast<size_t>(rows), 0.0);
  for (int64_t first = 0; first < k; first += rule.block) {
    const int64_t last = std::min(k, first + rule.block);
    if (rule.begin_block) rule.begin_block(weights, first, last);
    pool.run((rows + kTaskRows - 1) / kTaskRows, [&](int64_t task, int) {
      const int64_t from = task * kTaskRows;
      const int64_t count = std::min(kTaskRows, rows - from);
      Floats errors(count, last - first);
      for (int64_t r = 0; r < count; ++r)
        cost[static_cast<size_t>(from + r)] +=
            settle_row(weights.data() + (from + r) * k, from + r, first, last, factor, rule,
                       errors.data() + r * (last - first));
      if (last == k) return;
      Eigen::Map<Floats> mine(weights.data() + from * k, count, k);
      mine.rightCols(k - last).noalias() -= errors * u.block(first, last, last - first, k - last);
    });
  }
  return cost;
}

}  // namespace pare
