#include "train/device.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "train/cuda/gpu_tools.h"
#include "train/torch.h"

namespace pare {
namespace {

std::string last_load_error() {
  const char* error = dlerror();
  return error == nullptr ? "unknown reason" : error;
}

struct LoadedTools {
  GpuTools* tools = nullptr;
  std::string why;
};

// The module stands beside the program; else where the system looks for libraries.
LoadedTools open_gpu_module() {
  std::error_code failed;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", failed);
  void* module = nullptr;
  if (!failed) {
    const std::string beside = (program.parent_path() / kGpuModule).string();
    if (std::filesystem::exists(beside, failed)) {
      module = dlopen(beside.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (module == nullptr) return {nullptr, last_load_error()};
    }
  }
  if (module == nullptr) module = dlopen(kGpuModule, RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) return {nullptr, last_load_error()};
  const auto function = reinterpret_cast<GpuToolsFunction>(dlsym(module, kGpuToolsFunction));
  if (function == nullptr) return {nullptr, last_load_error()};
  return {function(), ""};
}

// Loads what LibTorch needs for CUDA; empty when all is there, else what is missing.
std::string load_cuda() {
  if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return "no NVIDIA driver on this machine";
  }
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return "LibTorch's CUDA part cannot be loaded: " + last_load_error();
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

Status choose_gpu(int number) {
  const c10::impl::VirtualGuardImpl devices(c10::DeviceType::CUDA);
  if (number >= devices.deviceCount()) {
    return unsupported(fmt::format("local rank {} has no GPU of its own: this host has {}", number,
                                   static_cast<int>(devices.deviceCount())));
  }
  devices.setDevice({c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(number)});
  return ok_status();
}

GpuTools* load_gpu_tools(std::string* why) {
  static const LoadedTools loaded = open_gpu_module();
  if (why != nullptr) *why = loaded.why;
  return loaded.tools;
}

}  // namespace pare
