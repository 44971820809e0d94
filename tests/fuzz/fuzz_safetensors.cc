// safetensors files.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "graph/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // As aligned as a mapped file, so that tensors rest on it where they can.
  const std::shared_ptr<std::byte> file(
      static_cast<std::byte*>(std::aligned_alloc(64, (size + 64) / 64 * 64)), std::free);
  if (size > 0) std::memcpy(file.get(), data, size);
  const auto content = pare::parse_safetensors(file, size);
  if (!content.ok()) return 0;
  int64_t sum = 0;
  for (const auto& [name, tensor] : content->tensors) {
    for (int64_t i = 0; i < tensor.byte_count(); ++i) sum += static_cast<int64_t>(tensor.data()[i]);
  }
  return sum == INT64_MIN ? 1 : 0;
}
