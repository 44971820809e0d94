// Clocks, power and energy of a GPU, by NVML where it is there.
#ifndef PARE_GPU_CUDA_ENERGY_H_
#define PARE_GPU_CUDA_ENERGY_H_

#include "pare/session.h"

namespace pare::gpu::cuda {

// Fills clocks, power and energy of the device at a PCI bus id; leaves them 0 where NVML is missing
// or does not tell.
void read_sensors(const char* bus_id, DeviceInfo& info);

}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_ENERGY_H_
