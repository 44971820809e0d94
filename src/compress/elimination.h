// For tests: second-order compression of one row by the formula of Optimal Brain Surgeon, with the
// inverse written out and shrunk by Gauss-Jordan elimination; no Cholesky factor, no blocks.
#ifndef PARE_COMPRESS_ELIMINATION_H_
#define PARE_COMPRESS_ELIMINATION_H_

#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

namespace pare::elimination {

using Matrix = std::vector<std::vector<double>>;

inline Matrix inverse(Matrix a) {
  const size_t n = a.size();
  Matrix b(n, std::vector<double>(n, 0.0));
  for (size_t i = 0; i < n; ++i) b[i][i] = 1;
  for (size_t i = 0; i < n; ++i) {  // a positive definite matrix needs no pivots
    const double pivot = a[i][i];
    for (size_t j = 0; j < n; ++j) {
      a[i][j] /= pivot;
      b[i][j] /= pivot;
    }
    for (size_t r = 0; r < n; ++r) {
      if (r == i) continue;
      const double factor = a[r][i];
      for (size_t j = 0; j < n; ++j) {
        a[r][j] -= factor * a[i][j];
        b[r][j] -= factor * b[i][j];
      }
    }
  }
  return b;
}

// Settles w's columns in order; `settle(column, w, [H^-1]_jj)` says what one becomes, with the
// diagonal of the inverse of H without the columns before it.
inline std::vector<double> settle(
    std::vector<double> w, const Matrix& h,
    const std::function<double(size_t column, double w, double diagonal)>& rule) {
  Matrix left = inverse(h);
  const size_t n = w.size();
  for (size_t j = 0; j < n; ++j) {
    const double v = rule(j, w[j], left[j][j]);
    const double e = (w[j] - v) / left[j][j];
    w[j] = v;
    for (size_t l = j + 1; l < n; ++l) w[l] -= e * left[j][l];
    const std::vector<double> row = left[j];
    for (size_t a = 0; a < n; ++a)
      for (size_t b = 0; b < n; ++b) left[a][b] -= row[a] * row[b] / row[j];
  }
  return w;
}

}  // namespace pare::elimination

#endif  // PARE_COMPRESS_ELIMINATION_H_
