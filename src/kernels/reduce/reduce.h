// Reductions over any set of dimensions, float32, and the position of the largest element.
//
// A result is computed by one task, over its elements in row-major order of the reduced dimensions,
// summed in float64 (so that the order hardly matters and a mean over a large image keeps float32's
// accuracy) and rounded once at the end.
#ifndef PARE_KERNELS_REDUCE_REDUCE_H_
#define PARE_KERNELS_REDUCE_REDUCE_H_

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace pare {

enum class ReduceOp : uint8_t { kSum, kMean, kMax, kMin, kProd, kL1, kL2, kSumSquare };

struct ReduceProblem {
  ReduceOp op = ReduceOp::kSum;
  // dst[i] is dense over kept_shape; its elements are src[i * kept_strides + j * reduced_strides].
  std::vector<int64_t> kept_shape;
  std::vector<int64_t> kept_strides;
  std::vector<int64_t> reduced_shape;
  std::vector<int64_t> reduced_strides;
};

void run_reduce(const ReduceProblem& problem, const float* src, float* dst, ThreadPool& pool);
// The same for int64, where a mean divides towards zero.
void run_reduce_int64(const ReduceProblem& problem, const int64_t* src, int64_t* dst);
// dst[i] = position of the largest element along the one reduced dimension; of equal ones the
// first, or the last if asked.
void run_arg_max(const ReduceProblem& problem, bool last, const float* src, int64_t* dst);

}  // namespace pare

#endif  // PARE_KERNELS_REDUCE_REDUCE_H_
