// Moving elements: copies between any two strided layouts (transpose, slice, expand, concatenate,
// change of memory order), gathering and filling. Exact by nature; one variant each, for every
// processor, since memory sets the pace.
#ifndef PARE_KERNELS_MOVE_MOVE_H_
#define PARE_KERNELS_MOVE_MOVE_H_

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/strided.h"

namespace pare {

// dst[i] = src[i] for every index i of `shape`; strides in elements, of src 0 for broadcast and
// negative for reversed dimensions. The two must not overlap.
struct MoveProblem {
  int element_bytes = 4;  // 1, 2, 4 or 8
  std::vector<int64_t> shape;
  std::vector<int64_t> src_strides;
  std::vector<int64_t> dst_strides;
};

class MovePlan {
 public:
  explicit MovePlan(const MoveProblem& problem);
  void run(const void* src, void* dst, ThreadPool& pool) const;

 private:
  int element_bytes_;
  StridedShape walk_;  // operand 0 is dst, 1 is src
};

// dst[o, i, e] = src[o, indices[i], e] for rows of inner_bytes; negative indices count from the
// end. Returns the first index outside -size … size-1, or a nullptr-like `ok`.
struct GatherProblem {
  int64_t outer = 1;
  int64_t size = 1;   // of the gathered axis
  int64_t count = 1;  // indices
  int64_t inner_bytes = 4;
};
struct GatherResult {
  bool ok = true;
  int64_t bad_index = 0;
};
GatherResult run_gather(const GatherProblem& problem, const void* src, const int64_t* indices,
                        void* dst);

// Fills `count` elements with the element at `value`.
void run_fill(int element_bytes, int64_t count, const void* value, void* dst);

}  // namespace pare

#endif  // PARE_KERNELS_MOVE_MOVE_H_
