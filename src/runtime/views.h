// Arithmetic on views: broadcasting, other shapes and orders of the same memory.
#ifndef PARE_RUNTIME_VIEWS_H_
#define PARE_RUNTIME_VIEWS_H_

#include <optional>
#include <vector>

#include "runtime/plan.h"

namespace pare {

// Strides of `view` seen as `shape` by ONNX's broadcasting: 0 where it is repeated.
Shape broadcast_strides(const View& view, const Shape& shape);
// The same elements under another shape, without moving them; nullopt when the strides do not allow
// it.
std::optional<View> reshaped_view(const View& view, const Shape& shape);
// Dimension d of the result is dimension order[d] of the argument.
View permuted(const View& view, const std::vector<int>& order);
std::vector<int64_t> permuted(const std::vector<int64_t>& values, const std::vector<int>& order);

// Of two operands of a matrix product, [batch..., rows, columns] each: the batch dimensions that
// broadcasting gives, and where each matrix of the batch begins relative to the view's first
// element.
Shape matrix_batch(const View& a, const View& b);
std::vector<int64_t> matrix_offsets(const View& view, const Shape& batch);

}  // namespace pare

#endif  // PARE_RUNTIME_VIEWS_H_
