#include "train/device.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "train/torch.h"

namespace pare {
namespace {

// Loads what LibTorch needs for CUDA; empty when all is there, else what is missing.
std::string load_cuda() {
  if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return "no NVIDIA driver on this machine";
  }
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    const char* error = dlerror();
    return fmt::format("LibTorch's CUDA part cannot be loaded: {}",
                       error == nullptr ? "unknown reason" : error);
  }
  if (!at::hasCUDA()) return "an NVIDIA driver is there, but no GPU that can be used";
  return "";
}

}  // namespace

Result<DeviceChoice> choose_device(const std::string& wanted) {
  if (wanted == "cpu") return DeviceChoice{false, "CPU: as asked"};
  if (wanted != "cuda" && wanted != "auto") {
    return invalid_argument(
        fmt::format("--device: expected cpu, cuda or auto, found '{}'", wanted));
  }
  static const std::string missing = load_cuda();
  if (missing.empty()) return DeviceChoice{true, "GPU: NVIDIA driver found"};
  if (wanted == "cuda") return unsupported("--device cuda: " + missing);
  return DeviceChoice{false, "CPU: " + missing};
}

}  // namespace pare
