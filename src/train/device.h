// Which device training runs on. LibTorch's CUDA part is loaded at run time and only where there is
// a GPU driver.
#ifndef PARE_TRAIN_DEVICE_H_
#define PARE_TRAIN_DEVICE_H_

#include <string>

#include "pare/status.h"

namespace pare {

struct DeviceChoice {
  bool cuda = false;
  std::string why;  // one line: "GPU: NVIDIA driver found", "CPU: no NVIDIA driver on this machine"
};

// `wanted`: "cpu", "cuda" or "auto". Must come before anything else that touches LibTorch: it asks
// once whether CUDA is there and keeps the answer. "cuda" where it cannot be loaded is an error
// that says what is missing.
Result<DeviceChoice> choose_device(const std::string& wanted);

}  // namespace pare

#endif  // PARE_TRAIN_DEVICE_H_
