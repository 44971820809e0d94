// Between the two kinds of tensors: Pare's (memory, host) and LibTorch's.
#ifndef PARE_TRAIN_TENSORS_H_
#define PARE_TRAIN_TENSORS_H_

#include "pare/status.h"

#include "base/tensor.h"
#include "train/torch.h"

namespace pare {

// The LibTorch type of a Pare type; types that LibTorch lacks (the 4-bit ones) are named.
Result<at::ScalarType> torch_type(DType type);
Result<DType> pare_type(at::ScalarType type);

// A copy on the host.
Result<at::Tensor> to_torch(const Tensor& tensor);
// Host memory in row-major order. Copies unless `share` is true and the tensor already lies so;
// then the result rests on the same memory, which later training steps overwrite.
struct FromTorchOptions {
  bool share = false;
};
Result<Tensor> from_torch(const at::Tensor& tensor, const FromTorchOptions& options = {});

// What LibTorch threw, as one line without its stack of C++ frames.
std::string torch_error_line(const std::exception& error);

}  // namespace pare

#endif  // PARE_TRAIN_TENSORS_H_
