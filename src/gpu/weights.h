// WeightBlock: the constants of a session's programs, each once, at the offsets that Operands in
// Space::kWeights name.
//
// Offsets never change: a program for another batch size appends what it needs beyond the others.
#ifndef PARE_GPU_WEIGHTS_H_
#define PARE_GPU_WEIGHTS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/tensor.h"
#include "gpu/program.h"

namespace pare::gpu {

class WeightBlock {
 public:
  using Make = std::function<Result<Tensor>()>;
  struct Part {
    int64_t offset = 0;
    Tensor tensor;
  };

  // The tensor under `key`, made now if there is none yet.
  Result<Operand> get(const std::string& key, const Make& make);
  // The tensor's place; equal ones share it.
  Operand constant(const Tensor& tensor);

  int64_t byte_count() const { return end_; }
  // What was appended since the last call, ascending; the block forgets the tensors.
  std::vector<Part> take_new();

 private:
  Operand append(const Tensor& tensor);

  std::map<std::string, Operand> places_;
  std::vector<Part> new_;
  int64_t end_ = 0;
};

}  // namespace pare::gpu

#endif  // PARE_GPU_WEIGHTS_H_
