// DeviceSession: what a Session is on another device than the processor, behind a module of its
// own.
//
// The module (libpare-cuda.so) is loaded when a session asks for its device and not before, so that
// the program starts without CUDA and runs where there is none.
#ifndef PARE_RUNTIME_DEVICE_SESSION_H_
#define PARE_RUNTIME_DEVICE_SESSION_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pare/session.h"
#include "pare/status.h"

#include "graph/graph.h"
#include "runtime/input_adapter.h"

namespace pare {

class DeviceSession {
 public:
  virtual ~DeviceSession() = default;

  // As Session's functions of the same names.
  virtual Status run(std::span<const uint8_t> pixels, int64_t count, std::span<float> scores) = 0;
  virtual Result<std::vector<LayerPlan>> plan(int64_t batch) = 0;
  virtual Result<MemoryUse> memory(int64_t batch) = 0;
  virtual Result<DeviceInfo> info() = 0;
  virtual Result<std::vector<double>> device_times_us(int64_t batch, int runs) = 0;
  virtual Result<std::vector<double>> step_times_us(int64_t batch, int runs) = 0;
};

struct DeviceRequest {
  Graph graph;  // prepared (planner.h)
  InputAdapter adapter;
  int64_t class_count = 0;
  std::string precision = "float32";
};

// What a module exports: which build it is of, since classes pass between it and the program, and
// how a session is opened.
using DeviceBuild = const char* (*)();
inline constexpr const char* kDeviceBuildSymbol = "pare_cuda_build";
using OpenDevice = void (*)(DeviceRequest& request, std::unique_ptr<DeviceSession>& session,
                            Status& status);
inline constexpr const char* kOpenDeviceSymbol = "pare_open_cuda";

// A session on `device` ("cuda"). kUnsupported, in one line, where module, driver or device are
// missing.
Result<std::unique_ptr<DeviceSession>> open_device(const std::string& device,
                                                   DeviceRequest request);

}  // namespace pare

#endif  // PARE_RUNTIME_DEVICE_SESSION_H_
