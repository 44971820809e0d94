#include "gpu/cuda/energy.h"

#include <dlfcn.h>

namespace pare::gpu::cuda {
namespace {

// The part of NVML's interface that is used, which is stable: nvml.h is no part of every toolkit.
using NvmlDevice = void*;
constexpr unsigned kClockProcessors = 1;  // NVML_CLOCK_SM
constexpr unsigned kClockMemory = 2;      // NVML_CLOCK_MEM

template <typename F>
bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

struct Nvml {
  int (*init)() = nullptr;
  int (*by_bus_id)(const char*, NvmlDevice*) = nullptr;
  int (*clock)(NvmlDevice, unsigned, unsigned*) = nullptr;
  int (*power)(NvmlDevice, unsigned*) = nullptr;
  int (*energy)(NvmlDevice, unsigned long long*) = nullptr;
  bool usable = false;

  Nvml() {
    void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return;
    usable = find(library, "nvmlInit_v2", init) &&
             find(library, "nvmlDeviceGetHandleByPciBusId_v2", by_bus_id) &&
             find(library, "nvmlDeviceGetClockInfo", clock) &&
             find(library, "nvmlDeviceGetPowerUsage", power) &&
             find(library, "nvmlDeviceGetTotalEnergyConsumption", energy) && init() == 0;
  }
};

}  // namespace

void read_sensors(const char* bus_id, DeviceInfo& info) {
  static const Nvml nvml;
  NvmlDevice device = nullptr;
  if (!nvml.usable || nvml.by_bus_id(bus_id, &device) != 0) return;
  unsigned value = 0;
  if (nvml.clock(device, kClockProcessors, &value) == 0) info.clock_mhz = static_cast<int>(value);
  if (nvml.clock(device, kClockMemory, &value) == 0) {
    info.memory_clock_mhz = static_cast<int>(value);
  }
  if (nvml.power(device, &value) == 0) info.power_watts = value / 1000.0;
  unsigned long long millijoules = 0;
  if (nvml.energy(device, &millijoules) == 0) {
    info.energy_joules = static_cast<double>(millijoules) / 1000.0;
  }
}

}  // namespace pare::gpu::cuda
