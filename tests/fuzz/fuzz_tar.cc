// tar archives: nothing may be written outside the folder, nor more than was allowed.
#include <algorithm>

#include "data/untar.h"
#include "targets.h"
#include "testing/files.h"

bool fuzz_tar(std::span<const std::byte> bytes) {
  namespace fs = std::filesystem;
  constexpr int64_t kMaxBytes = 1 << 20;
  // In memory: what is written is synced, and a disk takes milliseconds for that.
  if (fs::is_directory("/dev/shm")) ::setenv("TMPDIR", "/dev/shm", /*overwrite=*/0);
  const pare::testing_files::TemporaryFolder outer;
  const std::string folder = outer.path("folder");
  fs::create_directory(folder);
  size_t at = 0;
  const pare::TarSource source = [&](std::span<std::byte> room) -> pare::Result<size_t> {
    const size_t count = std::min(room.size(), bytes.size() - at);
    if (count > 0) std::memcpy(room.data(), bytes.data() + at, count);
    at += count;
    return count;
  };
  const bool unpacked = pare::unpack_tar(source, "fuzz", folder, kMaxBytes).ok();
  int64_t written = 0;
  for (const auto& entry : fs::recursive_directory_iterator(outer.path())) {
    require(entry.path().string().starts_with(folder) && !entry.is_symlink());
    if (entry.is_regular_file()) written += static_cast<int64_t>(entry.file_size());
  }
  require(written <= kMaxBytes);
  return unpacked;
}
