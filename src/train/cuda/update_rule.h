// What the update kernel and its callers share: plain numbers.
#ifndef PARE_TRAIN_CUDA_UPDATE_RULE_H_
#define PARE_TRAIN_CUDA_UPDATE_RULE_H_

#include <cstdint>

namespace pare {

// An optimiser's rule with its constants (optimiser.h has the formulas).
struct UpdateRule {
  int32_t adamw = 0;  // else SGD
  int32_t nesterov = 0;
  float momentum = 0;
  float beta1 = 0, beta2 = 0, epsilon = 0;
};
// What changes from step to step; read by the kernel from the GPU's memory.
struct UpdateScalars {
  float rate = 0;
  float average_share = 0;  // of the new weights in the running average
};

}  // namespace pare

#endif  // PARE_TRAIN_CUDA_UPDATE_RULE_H_
