#include "base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <new>
#include <utility>

namespace pare {
namespace {

// strerror is not thread-safe; the system category's message is.
std::string reason(int error) { return std::error_code(error, std::generic_category()).message(); }

Status failed(const std::string& path, const char* what, int error) {
  const std::string message = fmt::format("{}: cannot {}: {}", path, what, reason(error));
  return error == ENOENT ? not_found(message) : io_error(message);
}

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Status write_all(int fd, const std::string& path, const char* data, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t n = ::write(fd, data + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(path, "write", errno);
    done += static_cast<size_t>(n);
  }
  return ok_status();
}

// A new file beside `path`, under a name of its own. mkostemp makes files for their owner alone,
// and what the mask of other files would be can only be asked by changing it under other threads'
// feet.
int open_new_beside(const std::string& path, std::string& name) {
  constexpr int kAttempts = 100;
  constexpr int64_t kNames = 1 << 24;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int64_t now = std::chrono::steady_clock::now().time_since_epoch().count();
    name = fmt::format("{}.{:06x}", path, (now + attempt * int64_t{::getpid()}) % kNames);
    const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return -1;
}

// Says how large a regular file is; what is none is an error.
Status check_regular(int fd, const std::string& path, int64_t& size) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return failed(path, "read", errno);
  if (S_ISDIR(info.st_mode)) return io_error(path + ": expected a file, found a folder");
  if (!S_ISREG(info.st_mode)) return io_error(path + ": expected a regular file");
  size = info.st_size;
  return ok_status();
}

template <typename Container>
Status read_into(const std::string& path, int64_t max_bytes, Container& out) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return failed(path, "open", errno);
  int64_t size = 0;
  PARE_RETURN_IF_ERROR(check_regular(fd.get(), path, size));
  if (size > max_bytes) {
    return corrupt(fmt::format("{}: expected at most {} bytes, found {}", path, max_bytes, size));
  }
  try {
    out.resize(static_cast<size_t>(size));
  } catch (const std::bad_alloc&) {
    return out_of_memory(fmt::format("{}: no memory for its {} bytes", path, size));
  }
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n =
        ::read(fd.get(), reinterpret_cast<char*>(out.data()) + done, out.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(path, "read", errno);
    if (n == 0) return corrupt(fmt::format("{}: shrank while it was read", path));
    done += static_cast<size_t>(n);
  }
  return ok_status();
}

}  // namespace

Result<std::vector<std::byte>> read_file(const std::string& path, int64_t max_bytes) {
  std::vector<std::byte> bytes;
  PARE_RETURN_IF_ERROR(read_into(path, max_bytes, bytes));
  return bytes;
}

Result<std::string> read_text_file(const std::string& path, int64_t max_bytes) {
  std::string text;
  PARE_RETURN_IF_ERROR(read_into(path, max_bytes, text));
  return text;
}

Result<MappedFile> MappedFile::open(const std::string& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return failed(path, "open", errno);
  int64_t size = 0;
  PARE_RETURN_IF_ERROR(check_regular(fd.get(), path, size));
  MappedFile file;
  file.size_ = static_cast<size_t>(size);
  if (size == 0) return file;
  void* memory = ::mmap(nullptr, file.size_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (memory == MAP_FAILED) return failed(path, "map", errno);
  file.data_ = std::shared_ptr<const std::byte>(
      static_cast<const std::byte*>(memory),
      [bytes = file.size_](const std::byte* p) { ::munmap(const_cast<std::byte*>(p), bytes); });
  return file;
}

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  AtomicFile file;
  file.path_ = path;
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    if (S_ISDIR(info.st_mode)) return io_error(path + ": expected a file, found a folder");
    // A device or a pipe: renamed over, it would be gone.
    file.fd_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (file.fd_ < 0) return failed(path, "write", errno);
    return file;
  }
  file.fd_ = open_new_beside(path, file.temporary_);
  if (file.fd_ < 0) {
    file.temporary_.clear();
    return failed(path, "write", errno);
  }
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      fd_(std::exchange(other.fd_, -1)) {}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  return write_all(fd_, path_, reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Status AtomicFile::write(std::string_view text) {
  return write_all(fd_, path_, text.data(), text.size());
}

Status AtomicFile::commit() {
  if (temporary_.empty()) {
    return ::close(std::exchange(fd_, -1)) == 0 ? ok_status() : failed(path_, "write", errno);
  }
  if (::fsync(fd_) != 0) return failed(path_, "write", errno);
  if (::close(std::exchange(fd_, -1)) != 0) return failed(path_, "write", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return failed(path_, "write", errno);
  temporary_.clear();
  // The rename itself reaches the disk with the folder; a file system that cannot sync a folder
  // (some network ones) still has the file whole.
  const auto folder = std::filesystem::path(path_).parent_path();
  const Descriptor dir(
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir.get() >= 0) ::fsync(dir.get());
  return ok_status();
}

Status write_file(const std::string& path, std::span<const std::byte> bytes) {
  PARE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  PARE_RETURN_IF_ERROR(file.write(bytes));
  return file.commit();
}

Status write_file(const std::string& path, std::string_view text) {
  return write_file(path, std::as_bytes(std::span(text.data(), text.size())));
}

Status append_line(const std::string& path, std::string_view line) {
  const Descriptor fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666));
  if (fd.get() < 0) return failed(path, "write", errno);
  std::string text(line);
  text += '\n';
  PARE_RETURN_IF_ERROR(write_all(fd.get(), path, text.data(), text.size()));
  // Devices and pipes cannot be synced.
  return ::fsync(fd.get()) == 0 || errno == EINVAL ? ok_status() : failed(path, "write", errno);
}

Status make_directories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return failed(path, "make the folder", error.value());
  if (!is_directory(path)) return io_error(path + ": expected a folder, found a file");
  return ok_status();
}

Status check_can_write(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  const std::string where = folder.empty() ? "." : folder.string();
  if (!is_directory(where)) return not_found(path + ": there is no folder " + where);
  if (is_directory(path)) return io_error(path + ": expected a file, found a folder");
  // What exists and is no regular file (a device) is written to itself.
  std::error_code ignored;
  const bool device =
      std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored);
  if (::access(device ? path.c_str() : where.c_str(), W_OK) != 0) {
    return io_error(path + ": cannot write: " + (device ? path : where) + " is not writable");
  }
  return ok_status();
}

Status check_can_make_folder(const std::string& path) {
  std::error_code ignored;
  std::filesystem::path there = std::filesystem::path(path);
  while (!there.empty() && !std::filesystem::exists(there, ignored)) there = there.parent_path();
  const std::string where = there.empty() ? "." : there.string();
  if (!is_directory(where)) {
    return io_error(fmt::format("{}: expected a folder{}, found a file", path,
                                where == path ? "" : " at " + where));
  }
  if (::access(where.c_str(), W_OK) != 0) {
    return io_error(path + ": cannot write: " + where + " is not writable");
  }
  return ok_status();
}

bool file_exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

bool is_directory(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

Result<int64_t> file_size(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) return failed(path, "read", error.value());
  return static_cast<int64_t>(size);
}

std::string hash_bytes(std::span<const std::byte> bytes) {
  const XXH128_hash_t h = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", h.high64, h.low64);
}

Result<std::string> hash_file(const std::string& path) {
  PARE_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  return hash_bytes(file.bytes());
}

}  // namespace pare
