#include "runtime/views.h"

#include <algorithm>
#include <utility>

#include "kernels/strided.h"

namespace pare {

Shape broadcast_strides(const View& view, const Shape& shape) {
  Shape strides(shape.size(), 0);
  const size_t lead = shape.size() - view.shape.size();
  for (size_t d = 0; d < view.shape.size(); ++d) {
    if (view.shape[d] != 1 || shape[lead + d] == 1) strides[lead + d] = view.strides[d];
  }
  return strides;
}

// Both shapes are cut into the smallest runs of dimensions with equal products; within a run the
// old dimensions must step through memory as one.
std::optional<View> reshaped_view(const View& view, const Shape& shape) {
  View out = view;
  out.shape = shape;
  out.strides.assign(shape.size(), 0);
  if (view.size() == 0) {
    out.strides = strides_in_order(shape, plain_order(static_cast<int>(shape.size())));
    return out;
  }
  size_t from = 0;
  size_t to = 0;
  while (from < view.shape.size() || to < shape.size()) {
    const size_t from_begin = from;
    const size_t to_begin = to;
    int64_t old_size = from < view.shape.size() ? view.shape[from++] : 1;
    int64_t new_size = to < shape.size() ? shape[to++] : 1;
    while (old_size != new_size) {
      if (old_size < new_size) {
        old_size *= view.shape[from++];
      } else {
        new_size *= shape[to++];
      }
    }
    int64_t step = 1;  // of the run's innermost dimension that is not 1
    bool found = false;
    int64_t expected = 0;
    for (size_t d = from; d-- > from_begin;) {
      if (view.shape[d] == 1) continue;
      if (!found) {
        step = view.strides[d];
        found = true;
      } else if (view.strides[d] != expected) {
        return std::nullopt;
      }
      expected = view.strides[d] * view.shape[d];
    }
    for (size_t d = to; d-- > to_begin;) {
      out.strides[d] = step;
      step *= shape[d];
    }
  }
  return out;
}

std::vector<int64_t> permuted(const std::vector<int64_t>& values, const std::vector<int>& order) {
  std::vector<int64_t> out;
  out.reserve(order.size());
  for (int d : order) out.push_back(values[static_cast<size_t>(d)]);
  return out;
}

View permuted(const View& view, const std::vector<int>& order) {
  View out = view;
  out.shape = permuted(view.shape, order);
  out.strides = permuted(view.strides, order);
  return out;
}

Shape matrix_batch(const View& a, const View& b) {
  const size_t ra = a.shape.size();
  const size_t rb = b.shape.size();
  Shape batch(std::max(ra, rb) - 2, 1);
  for (size_t d = 0; d < batch.size(); ++d) {
    const size_t from_end = batch.size() - d + 2;
    if (from_end <= ra) batch[d] = a.shape[ra - from_end];
    if (from_end <= rb && batch[d] == 1) batch[d] = b.shape[rb - from_end];
  }
  return batch;
}

std::vector<int64_t> matrix_offsets(const View& view, const Shape& batch) {
  View outer = view;
  outer.shape.resize(view.shape.size() - 2);
  outer.strides.resize(view.shape.size() - 2);
  const StridedShape walk = collapse(batch, {broadcast_strides(outer, batch)});
  std::vector<int64_t> offsets;
  for_each_row(walk, 0, walk.count, [&](const int64_t* start, int64_t n) {
    for (int64_t i = 0; i < n; ++i) offsets.push_back(start[0] + i * walk.strides[0].back());
  });
  return offsets;
}

}  // namespace pare
