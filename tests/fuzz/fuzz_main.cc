// libFuzzer's way into the target that PARE_FUZZ_TARGET names.
#include <cstdint>

#include "targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  PARE_FUZZ_TARGET(std::as_bytes(std::span(data, size)));
  return 0;
}
