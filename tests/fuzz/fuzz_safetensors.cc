// safetensors files.
#include "graph/safetensors.h"
#include "targets.h"

bool fuzz_safetensors(std::span<const std::byte> bytes) {
  const auto content = pare::parse_safetensors(aligned_copy(bytes), bytes.size());
  if (!content.ok()) return false;
  for (const auto& [name, tensor] : content->tensors) {
    touch({tensor.data(), static_cast<size_t>(tensor.byte_count())});
  }
  return true;
}
