// What libpare-cuda.so exports (runtime/device_session.h).
#include <memory>
#include <string>
#include <utility>

#include "base/build_info.h"
#include "gpu/cuda/session.h"

#define PARE_EXPORTED extern "C" __attribute__((visibility("default")))

PARE_EXPORTED const char* pare_cuda_build() {
  static const std::string build = pare::build_version() + " " + pare::build_commit();
  return build.c_str();
}

PARE_EXPORTED void pare_open_cuda(pare::DeviceRequest& request,
                                  std::unique_ptr<pare::DeviceSession>& session,
                                  pare::Status& status) {
  auto made = pare::gpu::cuda::CudaSession::create(std::move(request));
  status = made.status();
  if (made.ok()) session = *std::move(made);
}
