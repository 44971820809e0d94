// Weights of a layer that share values: each value is trained as one number.
//
// After a step every weight has moved by its own gradient; the weights of a value then all become
// their mean. So a value moves by the mean of its weights' steps, where Han, Mao and Dally 2016
// ("Deep Compression", section 3.3) add up their gradients: the same direction, at a rate that does
// not depend on how many weights share the value.
#ifndef PARE_TRAIN_SHARED_WEIGHTS_H_
#define PARE_TRAIN_SHARED_WEIGHTS_H_

#include <map>
#include <string>

#include "pare/status.h"

#include "base/tensor.h"
#include "train/executor.h"
#include "train/torch.h"

namespace pare {

class SharedWeights {
 public:
  // `shared` as in FinetuneOptions. kInvalidArgument, naming it, for what is no trained weight of
  // `network` or has another shape.
  Status set(const std::map<std::string, Tensor>& shared, const TorchExecutor& network);
  bool empty() const { return weights_.empty(); }
  // Makes the weights of each value their mean, the others zero.
  void apply(TorchExecutor& network) const;

 private:
  struct Weight {
    at::Tensor where;  // int64, places that are not zero, in the weight's logical order
    at::Tensor value;  // int64, of each such place: which value, from 0
    at::Tensor sizes;  // float64, places of each value; at least 1
  };
  std::map<std::string, Weight> weights_;
};

}  // namespace pare

#endif  // PARE_TRAIN_SHARED_WEIGHTS_H_
