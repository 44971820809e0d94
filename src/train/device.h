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

// Makes GPU `number` the one that this thread works on; after choose_device() chose a GPU.
Status choose_gpu(int number);

// Our own CUDA part (train/cuda/gpu_tools.h), loaded at the first call; to be called only when
// choose_device() chose a GPU. nullptr where it was not built or does not load; `why`, if not null,
// then gets one line.
class GpuTools;
GpuTools* load_gpu_tools(std::string* why = nullptr);

}  // namespace pare

#endif  // PARE_TRAIN_DEVICE_H_
