// NCCL by LibTorch's c10d, for gradients that lie on GPUs.
#ifndef PARE_TRAIN_CUDA_NCCL_H_
#define PARE_TRAIN_CUDA_NCCL_H_

#include <c10/util/intrusive_ptr.h>

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

namespace pare::cuda {

// Null where it was built without NCCL's header. The current GPU is the rank's.
c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const c10::intrusive_ptr<c10d::Store>& store,
                                                    int rank, int size);

}  // namespace pare::cuda

#endif  // PARE_TRAIN_CUDA_NCCL_H_
