// Training checkpoints, read from a file in memory; as they are, and with the header's checksum put
// right.
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/file.h"
#include "targets.h"
#include "train/checkpoint.h"

namespace {

bool read(std::span<const std::byte> bytes) {
  const int fd = ::memfd_create("checkpoint", 0);
  require(fd >= 0);
  require(::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  const auto checkpoint = pare::read_checkpoint("/proc/self/fd/" + std::to_string(fd));
  if (checkpoint.ok()) {
    for (const auto& [name, tensor] : checkpoint->tensors) {
      touch({tensor.data(), static_cast<size_t>(tensor.byte_count())});
    }
  }
  ::close(fd);
  return checkpoint.ok();
}

}  // namespace

bool fuzz_checkpoint(std::span<const std::byte> bytes) {
  if (read(bytes)) return true;
  // train/checkpoint.h: the header's length at byte 8, its hash at 16, the header from 48 on.
  constexpr size_t kHeader = 48;
  if (bytes.size() < kHeader) return false;
  uint64_t length = 0;
  std::memcpy(&length, bytes.data() + 8, sizeof(length));
  if (length > bytes.size() - kHeader) return false;
  std::vector<std::byte> repaired(bytes.begin(), bytes.end());
  const std::string hash = pare::hash_bytes(bytes.subspan(kHeader, length));
  std::memcpy(repaired.data() + 16, hash.data(), hash.size());
  read(repaired);
  return false;
}
