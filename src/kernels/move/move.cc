#include "kernels/move/move.h"

#include <cstdlib>
#include <cstring>
#include <numeric>
#include <utility>

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

// A short row costs more to begin than to copy (an image's three channels: 4 ns an element), so the
// dimension next to it becomes the row where that is longer.
void lengthen_rows(StridedShape& walk) {
  constexpr int64_t kShort = 8;
  const size_t rank = walk.shape.size();
  if (rank < 2 || walk.shape[rank - 1] >= kShort) return;
  if (walk.shape[rank - 2] <= walk.shape[rank - 1]) return;
  std::swap(walk.shape[rank - 1], walk.shape[rank - 2]);
  for (auto& strides : walk.strides) std::swap(strides[rank - 1], strides[rank - 2]);
}

}  // namespace

MovePlan::MovePlan(const MoveProblem& problem) : element_bytes_(problem.element_bytes) {
  MoveProblem ordered = problem;
  order_by_destination(ordered);
  walk_ = collapse(ordered.shape, {ordered.dst_strides, ordered.src_strides});
  lengthen_rows(walk_);
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

}  // namespace pare
