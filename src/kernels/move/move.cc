#include "kernels/move/move.h"

#include <cstdlib>
#include <cstring>
#include <numeric>

namespace pare {
namespace {

constexpr int64_t kTaskElements = 64 * 1024;

template <typename T>
void copy_row(const T* src, int64_t src_step, T* dst, int64_t dst_step, int64_t n) {
  if (src_step == 1 && dst_step == 1) {
    std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(T));
  } else if (dst_step == 1) {
    for (int64_t i = 0; i < n; ++i) dst[i] = src[i * src_step];
  } else {
    for (int64_t i = 0; i < n; ++i) dst[i * dst_step] = src[i * src_step];
  }
}

template <typename T>
void copy_range(const StridedShape& walk, const void* src, void* dst, int64_t begin, int64_t end) {
  const auto* s = static_cast<const T*>(src);
  auto* d = static_cast<T*>(dst);
  for_each_row(walk, begin, end, [&](const int64_t* offsets, int64_t n) {
    copy_row(s + offsets[1], walk.strides[1].back(), d + offsets[0], walk.strides[0].back(), n);
  });
}

// Calls f.operator()<T>() with an unsigned type of that many bytes.
template <typename F>
void with_bytes(int element_bytes, F&& f) {
  switch (element_bytes) {
    case 1:
      return f.template operator()<uint8_t>();
    case 2:
      return f.template operator()<uint16_t>();
    case 8:
      return f.template operator()<uint64_t>();
    default:
      return f.template operator()<uint32_t>();
  }
}

// Dimensions from the largest destination stride to the smallest: writes run forward in memory.
void order_by_destination(MoveProblem& p) {
  std::vector<size_t> order(p.shape.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::abs(p.dst_strides[a]) > std::abs(p.dst_strides[b]);
  });
  const MoveProblem old = p;
  for (size_t d = 0; d < order.size(); ++d) {
    p.shape[d] = old.shape[order[d]];
    p.src_strides[d] = old.src_strides[order[d]];
    p.dst_strides[d] = old.dst_strides[order[d]];
  }
}

}  // namespace

MovePlan::MovePlan(const MoveProblem& problem) : element_bytes_(problem.element_bytes) {
  MoveProblem ordered = problem;
  order_by_destination(ordered);
  walk_ = collapse(ordered.shape, {ordered.dst_strides, ordered.src_strides});
}

void MovePlan::run(const void* src, void* dst, ThreadPool& pool) const {
  const int64_t count = walk_.count;
  pool.run((count + kTaskElements - 1) / kTaskElements, [&](int64_t task, int /*worker*/) {
    const int64_t begin = task * kTaskElements;
    const int64_t end = std::min(count, begin + kTaskElements);
    with_bytes(element_bytes_, [&]<typename T>() { copy_range<T>(walk_, src, dst, begin, end); });
  });
}

GatherResult run_gather(const GatherProblem& p, const void* src, const int64_t* indices,
                        void* dst) {
  const auto* s = static_cast<const char*>(src);
  auto* d = static_cast<char*>(dst);
  for (int64_t i = 0; i < p.count; ++i) {
    if (indices[i] < -p.size || indices[i] >= p.size) return {false, indices[i]};
  }
  for (int64_t o = 0; o < p.outer; ++o) {
    for (int64_t i = 0; i < p.count; ++i) {
      const int64_t index = indices[i] < 0 ? indices[i] + p.size : indices[i];
      std::memcpy(d, s + (o * p.size + index) * p.inner_bytes, static_cast<size_t>(p.inner_bytes));
      d += p.inner_bytes;
    }
  }
  return {};
}

void run_fill(int element_bytes, int64_t count, const void* value, void* dst) {
  with_bytes(element_bytes, [&]<typename T>() {
    T v;
    std::memcpy(&v, value, sizeof(T));
    std::fill_n(static_cast<T*>(dst), count, v);
  });
}

namespace {

// Where index i of the padded axis comes from; -1: from the constant.
int64_t pad_source(PadMode mode, int64_t i, int64_t begin, int64_t size) {
  int64_t s = i - begin;
  if (s >= 0 && s < size) return s;
  switch (mode) {
    case PadMode::kConstant:
      return -1;
    case PadMode::kEdge:
      return s < 0 ? 0 : size - 1;
    case PadMode::kWrap:
      return ((s % size) + size) % size;
    default: {  // reflect, back and forth without repeating the edge
      if (size == 1) return 0;
      const int64_t period = 2 * (size - 1);
      s = ((s % period) + period) % period;
      return s < size ? s : period - s;
    }
  }
}

}  // namespace

void run_pad(const PadProblem& p, const void* src, const void* value, void* dst) {
  const size_t rank = p.src_shape.size();
  const std::vector<int64_t> src_strides = dense_strides(p.src_shape);
  std::vector<int64_t> dst_shape(rank);
  std::vector<std::vector<int64_t>> sources(rank);  // offset of each index along each axis, or -1
  int64_t count = 1;
  for (size_t d = 0; d < rank; ++d) {
    dst_shape[d] = p.src_shape[d] + p.begin[d] + p.end[d];
    count *= dst_shape[d];
    for (int64_t i = 0; i < dst_shape[d]; ++i) {
      const int64_t s = pad_source(p.mode, i, p.begin[d], p.src_shape[d]);
      sources[d].push_back(s < 0 ? -1 : s * src_strides[d]);
    }
  }
  std::vector<int64_t> index(rank, 0);
  with_bytes(p.element_bytes, [&]<typename T>() {
    const auto* s = static_cast<const T*>(src);
    auto* to = static_cast<T*>(dst);
    T constant{};
    if (value != nullptr) std::memcpy(&constant, value, sizeof(T));
    for (int64_t i = 0; i < count; ++i) {
      int64_t offset = 0;
      bool inside = true;
      for (size_t d = 0; d < rank; ++d) {
        const int64_t part = sources[d][static_cast<size_t>(index[d])];
        inside = inside && part >= 0;
        offset += part;
      }
      to[i] = inside ? s[offset] : constant;
      for (size_t d = rank; d-- > 0;) {
        if (++index[d] < dst_shape[d]) break;
        index[d] = 0;
      }
    }
  });
}

}  // namespace pare
