#include "kernels/strided.h"

namespace pare {

std::vector<int64_t> dense_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t step = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = step;
    step *= shape[d];
  }
  return strides;
}

StridedShape collapse(const std::vector<int64_t>& shape,
                      std::vector<std::vector<int64_t>> strides) {
  StridedShape out;
  out.strides.resize(strides.size());
  for (size_t d = 0; d < shape.size(); ++d) {
    out.count *= shape[d];
    if (shape[d] == 1) continue;
    bool merge = !out.shape.empty();
    for (size_t k = 0; merge && k < strides.size(); ++k) {
      merge = out.strides[k].back() == strides[k][d] * shape[d];
    }
    if (merge) {
      out.shape.back() *= shape[d];
    } else {
      out.shape.push_back(shape[d]);
    }
    for (size_t k = 0; k < strides.size(); ++k) {
      if (merge) {
        out.strides[k].back() = strides[k][d];
      } else {
        out.strides[k].push_back(strides[k][d]);
      }
    }
  }
  if (out.shape.empty()) {
    out.shape.push_back(1);
    for (auto& s : out.strides) s.push_back(0);
  }
  return out;
}

}  // namespace pare
