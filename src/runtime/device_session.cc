#include "runtime/device_session.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "base/build_info.h"

namespace pare {
namespace {

constexpr const char* kModule = "libpare-cuda.so";

// Beside the program or library that holds this function, or where the system looks.
void* load_module(std::string& why) {
  Dl_info self = {};
  if (dladdr(reinterpret_cast<void*>(&load_module), &self) != 0 && self.dli_fname != nullptr) {
    std::error_code error;
    const auto folder = std::filesystem::canonical(self.dli_fname, error).parent_path();
    for (const auto& place : {folder, folder / "../lib", folder / "../lib64"}) {
      const auto path = place / kModule;
      if (error || !std::filesystem::exists(path, error)) continue;
      if (void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return module;
      why = dlerror();
      return nullptr;
    }
  }
  void* module = dlopen(kModule, RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) why = dlerror();
  return module;
}

}  // namespace

Result<std::unique_ptr<DeviceSession>> open_device(const std::string& device,
                                                   DeviceRequest request) {
  if (device != "cuda") {
    return invalid_argument(fmt::format("device '{}': expected cpu or cuda", device));
  }
  std::string why;
  void* module = load_module(why);  // stays for good: its code may run at exit
  if (module == nullptr) return unsupported("no GPU part: " + why);
  const auto open = reinterpret_cast<OpenDevice>(dlsym(module, kOpenDeviceSymbol));
  if (open == nullptr) {
    return unsupported(
        fmt::format("{} is of another version: it lacks '{}'", kModule, kOpenDeviceSymbol));
  }
  std::unique_ptr<DeviceSession> session;
  Status status;
  open(request, session, status);
  PARE_RETURN_IF_ERROR(status);
  return session;
}

}  // namespace pare
