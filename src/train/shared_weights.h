// Weights of a layer that share values: each value is trained as one number.
//
// Before a step the gradients of a value's weights all become their mean, so that clipping and the
// optimiser see what the values do; after it the weights become theirs, for optimisers that treat
// equal gradients unlike. Han, Mao and Dally 2016 ("Deep Compression", section 3.3) add the
// gradients up: the mean is the same direction for each value, at a rate that does not depend on
// how many weights share it.
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
  // Makes the gradients of each value's weights their mean, those of the others zero.
  void average_gradients(const TorchExecutor& network) const;
  // The same for the weights.
  void average_weights(TorchExecutor& network) const;

 private:
  // Only places that are not zero: of a pruned weight few.
  struct Weight {
    at::Tensor where;  // int64, places that are not zero, in the weight's logical order
    at::Tensor value;  // int64, of each such place: which value, from 0
    at::Tensor sizes;  // float64, places of each value; at least 1
  };
  static void average(const Weight& weight, const at::Tensor& tensor);
  std::map<std::string, Weight> weights_;
};

}  // namespace pare

#endif  // PARE_TRAIN_SHARED_WEIGHTS_H_
