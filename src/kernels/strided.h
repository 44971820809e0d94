// Walking several operands of one logical shape whose elements lie at any strides (in elements, 0
// for a broadcast dimension). Dimensions that all operands step through alike are merged first, so
// that dense operands become one long row whatever their rank.
#ifndef PARE_KERNELS_STRIDED_H_
#define PARE_KERNELS_STRIDED_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace pare {

struct StridedShape {
  std::vector<int64_t> shape;                 // outermost first; never empty
  std::vector<std::vector<int64_t>> strides;  // one list for each operand
  int64_t count = 1;
};

// Strides of a dense array of `shape`, innermost dimension last.
std::vector<int64_t> dense_strides(const std::vector<int64_t>& shape);

// Drops dimensions of size 1 and merges neighbours that every operand steps through as one.
StridedShape collapse(const std::vector<int64_t>& shape, std::vector<std::vector<int64_t>> strides);

// Calls row(offsets, length) for the pieces of rows that make up elements begin … end-1 in logical
// order; offsets[k] is where operand k's piece starts. Its step is strides[k].back().
template <typename F>
void for_each_row(const StridedShape& s, int64_t begin, int64_t end, F&& row) {
  if (begin >= end) return;
  const size_t rank = s.shape.size();
  const size_t operands = s.strides.size();
  // At most 2^40 elements, and no dimension of size 1 is left: 40 dimensions.
  std::array<int64_t, 40> index{};
  std::vector<int64_t> offsets(operands, 0);
  int64_t rest = begin;
  for (size_t d = rank; d-- > 0;) {
    index[d] = rest % s.shape[d];
    rest /= s.shape[d];
    for (size_t k = 0; k < operands; ++k) offsets[k] += index[d] * s.strides[k][d];
  }
  const int64_t inner = s.shape[rank - 1];
  while (begin < end) {
    const int64_t n = std::min(inner - index[rank - 1], end - begin);
    row(static_cast<const int64_t*>(offsets.data()), n);
    begin += n;
    index[rank - 1] += n;
    for (size_t k = 0; k < operands; ++k) offsets[k] += n * s.strides[k][rank - 1];
    for (size_t d = rank - 1; d > 0 && index[d] == s.shape[d]; --d) {
      for (size_t k = 0; k < operands; ++k) {
        offsets[k] += s.strides[k][d - 1] - s.shape[d] * s.strides[k][d];
      }
      index[d] = 0;
      ++index[d - 1];
    }
  }
}

}  // namespace pare

#endif  // PARE_KERNELS_STRIDED_H_
