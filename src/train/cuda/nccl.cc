#include "train/cuda/nccl.h"

#ifdef PARE_HAS_NCCL
#include <nccl.h>

#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

namespace pare::cuda {

#ifdef PARE_HAS_NCCL

// The group's options hold an ncclConfig_t, which grows from release to release: with another
// header than LibTorch's own they would lie elsewhere in memory than libtorch_cuda reads them.
static_assert(NCCL_VERSION_CODE == NCCL_VERSION(2, 28, 9), "LibTorch 2.11.0 is built with 2.28.9");

c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const c10::intrusive_ptr<c10d::Store>& store,
                                                    int rank, int size) {
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, size);
}

#else

c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const c10::intrusive_ptr<c10d::Store>&, int,
                                                    int) {
  return {};
}

#endif

}  // namespace pare::cuda
