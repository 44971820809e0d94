// Files: read with a bound, mapped, and written whole or not at all.
#ifndef PARE_BASE_FILE_H_
#define PARE_BASE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pare/status.h"

namespace pare {

// The whole file. Fails with a line naming the file when it is missing, unreadable, a folder, or
// larger than `max_bytes`.
Result<std::vector<std::byte>> read_file(const std::string& path, int64_t max_bytes);
Result<std::string> read_text_file(const std::string& path, int64_t max_bytes = 64 << 20);

// A file mapped read-only; the memory lives as long as any copy of data() does.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path);
  std::span<const std::byte> bytes() const { return {data_.get(), size_}; }
  // Keeps the mapping alive; aliasing pointers into it serve Tensor::from_external.
  const std::shared_ptr<const std::byte>& data() const { return data_; }

 private:
  std::shared_ptr<const std::byte> data_;
  size_t size_ = 0;
};

// Writes to a temporary name in the same folder; commit() syncs and renames. Without commit() the
// temporary file is removed. Every error (no such folder, no permission, disk full) names the file.
// A device or a pipe (/dev/stdout) is written to as it is.
class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  AtomicFile(const AtomicFile&) = delete;
  ~AtomicFile();

  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text);
  Status commit();

 private:
  AtomicFile() = default;
  std::string path_;
  std::string temporary_;
  int fd_ = -1;
};

Status write_file(const std::string& path, std::span<const std::byte> bytes);
Status write_file(const std::string& path, std::string_view text);
// One line, with its newline added, appended in a single write and synced (records, logs).
Status append_line(const std::string& path, std::string_view line);

Status make_directories(const std::string& path);
// Before long work whose result goes there: whether a file, or a folder with those above it, can be
// made or written to. Nothing is left behind.
Status check_can_write(const std::string& path);
Status check_can_make_folder(const std::string& path);
bool file_exists(const std::string& path);
bool is_directory(const std::string& path);
Result<int64_t> file_size(const std::string& path);

// XXH3, 128 bits, as 32 hexadecimal digits.
std::string hash_bytes(std::span<const std::byte> bytes);
Result<std::string> hash_file(const std::string& path);

}  // namespace pare

#endif  // PARE_BASE_FILE_H_
