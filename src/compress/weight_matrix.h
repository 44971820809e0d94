// A layer's weight as a matrix: one row an output, one column an input, whatever the operator's own
// layout.
//
//   Conv    [O, I/g, kh, kw] -> O × k with k = I/g·kh·kw; output o belongs to group o / (O/g)
//   Gemm    [O, I] with transB, else [I, O]; MatMul [I, O] -> O × I
//
// Columns may be taken in another order: sparsity patterns run over neighbouring input channels at
// one place of a convolution's window, where the weight itself has the window innermost.
#ifndef PARE_COMPRESS_WEIGHT_MATRIX_H_
#define PARE_COMPRESS_WEIGHT_MATRIX_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/tensor.h"
#include "compress/layers.h"
#include "graph/graph.h"

namespace pare {

struct WeightMatrix {
  int64_t outputs = 0;
  int64_t k = 0;       // inputs of one output, window included
  int64_t groups = 1;  // of a grouped convolution; outputs is a multiple
  int64_t taps = 1;    // kh·kw: the weight's columns are channels × taps
  bool k_major = false;

  int64_t channels() const { return k / taps; }
  int64_t outputs_of_group() const { return outputs / groups; }
  bool operator==(const WeightMatrix&) const = default;
};
// Where the weight's tensor holds output o's weight of its column c.
inline int64_t offset_of(const WeightMatrix& shape, int64_t o, int64_t column) {
  return shape.k_major ? column * shape.outputs + o : o * shape.k + column;
}
WeightMatrix weight_matrix(const Graph& graph, const WeightLayer& layer);

// The k columns with a window's channels side by side: order[c] is the weight's own column of the
// c-th. The identity for dense layers.
std::vector<int64_t> channels_innermost(const WeightMatrix& shape);

// outputs × k floats, columns in `order`.
std::vector<float> read_rows(const Tensor& weight, const WeightMatrix& shape,
                             std::span<const int64_t> order);
// The inverse: a tensor like `like` of element type T, with rows' values.
template <typename T>
Tensor write_rows(std::span<const T> rows, const Tensor& like, const WeightMatrix& shape,
                  std::span<const int64_t> order) {
  Tensor result(DTypeOf<T>::value, like.shape());
  const auto values = result.mutable_values<T>();
  for (int64_t o = 0; o < shape.outputs; ++o)
    for (int64_t c = 0; c < shape.k; ++c) {
      const int64_t at = offset_of(shape, o, order[static_cast<size_t>(c)]);
      values[static_cast<size_t>(at)] = rows[static_cast<size_t>(o * shape.k + c)];
    }
  return result;
}

}  // namespace pare

#endif  // PARE_COMPRESS_WEIGHT_MATRIX_H_
