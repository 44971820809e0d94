#include "kernels/reduce/reduce.h"

#include <cmath>
#include <limits>

#include "kernels/strided.h"

namespace pare {
namespace {

constexpr int64_t kTaskElements = 32 * 1024;

template <typename T>
struct Accumulator {
  ReduceOp op;
  T value;

  explicit Accumulator(ReduceOp reduce) : op(reduce), value(start(reduce)) {}

  static T start(ReduceOp op) {
    using Limits = std::numeric_limits<T>;
    constexpr bool kInfinite = Limits::has_infinity;
    switch (op) {
      case ReduceOp::kProd:
        return T{1};
      case ReduceOp::kMax:
        return kInfinite ? -Limits::infinity() : Limits::lowest();
      case ReduceOp::kMin:
        return kInfinite ? Limits::infinity() : Limits::max();
      default:
        return T{0};
    }
  }

  void add(T x) {
    switch (op) {
      case ReduceOp::kSum:
      case ReduceOp::kMean:
        value += x;
        break;
      case ReduceOp::kMax:
        value = x > value || x != x ? x : value;
        break;
      case ReduceOp::kMin:
        value = x < value || x != x ? x : value;
        break;
      case ReduceOp::kProd:
        value *= x;
        break;
      case ReduceOp::kL1:
        value += x < T{0} ? -x : x;
        break;
      default:
        value += x * x;
        break;
    }
  }

  T result(int64_t count) const {
    if (op == ReduceOp::kMean) return value / static_cast<T>(count);
    if (op == ReduceOp::kL2) return static_cast<T>(std::sqrt(static_cast<double>(value)));
    return value;
  }
};

template <typename T, typename Wide>
void reduce_range(const ReduceProblem& p, const StridedShape& kept, const StridedShape& reduced,
                  const T* src, T* dst, int64_t begin, int64_t end) {
  T* d = dst + begin;
  for_each_row(kept, begin, end, [&](const int64_t* offsets, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const T* s = src + offsets[0] + i * kept.strides[0].back();
      Accumulator<Wide> sum(p.op);
      const int64_t step = reduced.strides[0].back();
      for_each_row(reduced, 0, reduced.count, [&](const int64_t* inner, int64_t length) {
        for (int64_t k = 0; k < length; ++k) sum.add(static_cast<Wide>(s[inner[0] + k * step]));
      });
      *d++ = static_cast<T>(sum.result(reduced.count));
    }
  });
}

}  // namespace

void run_reduce(const ReduceProblem& p, const float* src, float* dst, ThreadPool& pool) {
  const StridedShape kept = collapse(p.kept_shape, {p.kept_strides});
  const StridedShape reduced = collapse(p.reduced_shape, {p.reduced_strides});
  const int64_t per_task =
      std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, reduced.count));
  pool.run((kept.count + per_task - 1) / per_task, [&](int64_t task, int /*worker*/) {
    reduce_range<float, double>(p, kept, reduced, src, dst, task * per_task,
                                std::min(kept.count, (task + 1) * per_task));
  });
}

void run_reduce_int64(const ReduceProblem& p, const int64_t* src, int64_t* dst) {
  const StridedShape kept = collapse(p.kept_shape, {p.kept_strides});
  const StridedShape reduced = collapse(p.reduced_shape, {p.reduced_strides});
  if (p.op == ReduceOp::kMean && reduced.count == 0) {
    std::fill_n(dst, kept.count, 0);
    return;
  }
  reduce_range<int64_t, int64_t>(p, kept, reduced, src, dst, 0, kept.count);
}

void run_arg_max(const ReduceProblem& p, bool last, const float* src, int64_t* dst) {
  const StridedShape kept = collapse(p.kept_shape, {p.kept_strides});
  const int64_t count = p.reduced_shape[0];
  const int64_t step = p.reduced_strides[0];
  for_each_row(kept, 0, kept.count, [&](const int64_t* offsets, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const float* s = src + offsets[0] + i * kept.strides[0].back();
      int64_t best = 0;
      for (int64_t k = 1; k < count; ++k) {
        const float x = s[k * step];
        const float y = s[best * step];
        if (x > y || (last && x == y)) best = k;
      }
      *dst++ = best;
    }
  });
}

}  // namespace pare
