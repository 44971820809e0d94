#include "data/download.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "base/file.h"
#include "data/curl_library.h"
#include "data/md5.h"
#include "data/untar.h"

namespace pare {
namespace {

// The unfinished file: locked, appended to, closed.
class PartFile {
 public:
  static Result<PartFile> open(const std::string& path) {
    PartFile file;
    file.fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (file.fd_ < 0) return io_error(fmt::format("{}: cannot write: {}", path, reason()));
    if (flock(file.fd_, LOCK_EX | LOCK_NB) != 0) {
      return io_error(path + ": another program is downloading it");
    }
    return file;
  }
  PartFile(PartFile&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  PartFile& operator=(PartFile&&) = delete;
  ~PartFile() {
    if (fd_ >= 0) ::close(fd_);
  }

  int64_t size() const {
    struct stat info {};
    return fstat(fd_, &info) == 0 ? info.st_size : 0;
  }
  bool truncate() const { return ftruncate(fd_, 0) == 0; }
  bool append(const char* data, size_t count) const {
    while (count > 0) {
      const ssize_t n = ::write(fd_, data, count);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      data += n;
      count -= static_cast<size_t>(n);
    }
    return true;
  }
  bool sync() const { return fsync(fd_) == 0; }
  static std::string reason() { return std::error_code(errno, std::generic_category()).message(); }

 private:
  PartFile() = default;
  int fd_ = -1;
};

// One request, as libcurl's callback sees it.
struct Transfer {
  const CurlLibrary* curl = nullptr;
  CURL* handle = nullptr;
  const PartFile* part = nullptr;
  const DownloadProgress* progress = nullptr;
  int64_t begun_at = 0;  // bytes that were there before
  int64_t received = 0;
  int64_t max_bytes = 0;
  std::string error;  // why the callback stopped it
};

size_t on_bytes(char* data, size_t size, size_t count, void* user) {
  auto& t = *static_cast<Transfer*>(user);
  const size_t bytes = size * count;
  t.received += static_cast<int64_t>(bytes);
  if (t.begun_at + t.received > t.max_bytes) {
    t.error = fmt::format("sends more than the {} bytes that are expected", t.max_bytes);
    return 0;
  }
  if (!t.part->append(data, bytes)) {
    t.error = "cannot write: " + PartFile::reason();
    return 0;
  }
  if (*t.progress) {
    curl_off_t left = 0;
    t.curl->easy_getinfo(t.handle, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &left);
    (*t.progress)(t.begun_at + t.received, left > 0 ? t.begun_at + left : 0);
  }
  return bytes;
}

void set_options(const CurlLibrary& curl, CURL* handle, const std::string& url, Transfer& t,
                 char* error_text) {
  constexpr long kConnectSeconds = 20;
  constexpr long kStalledSeconds = 30;
  constexpr long kStalledBytesPerSecond = 100;
  curl.easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl.easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl.easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl.easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 1L);
  curl.easy_setopt(handle, CURLOPT_MAXREDIRS, 5L);
  curl.easy_setopt(handle, CURLOPT_FAILONERROR, 1L);
  curl.easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl.easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl.easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, kStalledSeconds);
  curl.easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, kStalledBytesPerSecond);
  curl.easy_setopt(handle, CURLOPT_ERRORBUFFER, error_text);
  curl.easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_bytes);
  curl.easy_setopt(handle, CURLOPT_WRITEDATA, &t);
  curl.easy_setopt(handle, CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(t.begun_at));
}

// One attempt. `made_progress` says whether another one is worth while.
Status transfer_once(const CurlLibrary& curl, const ArchiveSource& source, const PartFile& part,
                     const DownloadProgress& progress, bool& made_progress) {
  CURL* handle = curl.easy_init();
  if (handle == nullptr) return io_error("libcurl does not start");
  Transfer t;
  t.curl = &curl;
  t.handle = handle;
  t.part = &part;
  t.progress = &progress;
  t.begun_at = part.size();
  t.max_bytes = source.max_bytes;
  char error_text[CURL_ERROR_SIZE] = "";
  set_options(curl, handle, source.url, t, error_text);
  const CURLcode code = curl.easy_perform(handle);
  long response = 0;
  curl.easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &response);
  curl.easy_cleanup(handle);
  made_progress = t.received > 0 && t.error.empty();
  if (code == CURLE_OK) return ok_status();
  constexpr long kRangeNotSatisfiable = 416;  // all of it was there already
  if (response == kRangeNotSatisfiable && t.begun_at > 0) return ok_status();
  // The server sends the whole file or nothing: begin again.
  if (code == CURLE_RANGE_ERROR) made_progress = part.truncate();
  const std::string why = !t.error.empty()        ? t.error
                          : error_text[0] != '\0' ? error_text
                                                  : curl.easy_strerror(code);
  return io_error(fmt::format("{}: {}", source.url, why));
}

}  // namespace

ArchiveSource cifar10_source() {
  return {"https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "cifar-10-binary.tar.gz",
          "c32a1d4ab5d03f1284b67883e8d87530", "cifar-10-batches-bin", int64_t{200} << 20};
}

ArchiveSource cifar100_source() {
  return {"https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", "cifar-100-binary.tar.gz",
          "03b5dce01913d631647c71ecec9e9cb8", "cifar-100-binary", int64_t{200} << 20};
}

Status download_file(const ArchiveSource& source, const std::string& path,
                     const DownloadProgress& progress) {
  PARE_ASSIGN_OR_RETURN(const CurlLibrary curl, CurlLibrary::open());
  const std::string part_path = path + ".part";
  PARE_ASSIGN_OR_RETURN(const PartFile part, PartFile::open(part_path));
  constexpr int kAttempts = 3;  // while each brings something
  bool made_progress = true;
  Status status = io_error("not begun");
  for (int attempt = 0; attempt < kAttempts && !status.ok() && made_progress; ++attempt) {
    status = transfer_once(curl, source, part, progress, made_progress);
  }
  PARE_RETURN_IF_ERROR(status);
  if (!part.sync()) return io_error(part_path + ": cannot write: " + PartFile::reason());
  PARE_ASSIGN_OR_RETURN(const std::string md5, md5_of_file(part_path));
  if (md5 != source.md5) {
    std::remove(part_path.c_str());
    return corrupt(fmt::format("{}: MD5 is {}, expected {}; what was downloaded has been removed",
                               source.url, md5, source.md5));
  }
  if (std::rename(part_path.c_str(), path.c_str()) != 0) {
    return io_error(fmt::format("{}: cannot rename: {}", part_path, PartFile::reason()));
  }
  return ok_status();
}

Result<std::string> fetch_archive(const ArchiveSource& source, const std::string& cache,
                                  const DownloadProgress& progress) {
  const std::string folder = cache + "/" + source.folder;
  if (is_directory(folder)) return folder;
  PARE_RETURN_IF_ERROR(make_directories(cache));
  const std::string archive = cache + "/" + source.file;
  if (!file_exists(archive)) {
    PARE_RETURN_IF_ERROR(download_file(source, archive, progress));
  }
  // Unpacked beside and renamed, so that the folder is whole or not there.
  const std::string unpacked = fmt::format("{}/.{}.{}", cache, source.folder, ::getpid());
  std::error_code ignored;
  std::filesystem::remove_all(unpacked, ignored);
  Status status = unpack_tar_gz(archive, unpacked, source.max_bytes);
  if (status.ok() && !is_directory(unpacked + "/" + source.folder)) {
    status = corrupt(fmt::format("{}: expected a folder {} in it", archive, source.folder));
  }
  if (status.ok() && std::rename((unpacked + "/" + source.folder).c_str(), folder.c_str()) != 0 &&
      !is_directory(folder)) {
    status = io_error(fmt::format("{}: cannot rename: {}", folder, PartFile::reason()));
  }
  std::filesystem::remove_all(unpacked, ignored);
  if (!status.ok()) return status;
  std::filesystem::remove(archive, ignored);  // all of it is in the folder now
  return folder;
}

}  // namespace pare
