#include "study/claims.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "base/host.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int64_t kMaxClaimBytes = 1 << 16;

// The processes that this one can see: another boot and another container have others.
std::string process_space() {
  std::error_code none;
  const auto boot = read_text_file("/proc/sys/kernel/random/boot_id", kMaxClaimBytes);
  return host_name() + " " + (boot.ok() ? *boot : "") +
         fs::read_symlink("/proc/self/ns/pid", none).string();
}

std::string claim_text(const std::string& token) {
  return nlohmann::json{{"token", token},
                        {"host", host_name()},
                        {"process", getpid()},
                        {"space", process_space()}}
             .dump() +
         "\n";
}

// What a claim says; empty where it is being written at this moment.
nlohmann::json read_claim(const std::string& text) {
  nlohmann::json claim = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const bool whole = claim.is_object() && claim.contains("token") && claim["token"].is_string() &&
                     claim.contains("host") && claim["host"].is_string() &&
                     claim.contains("process") && claim["process"].is_number_integer() &&
                     claim.contains("space") && claim["space"].is_string();
  return whole ? claim : nlohmann::json::object();
}

std::string token_of(const std::string& text) {
  const nlohmann::json claim = read_claim(text);
  return claim.empty() ? text : claim["token"].get<std::string>();
}

// True if the file was not there and now is.
Result<bool> make_file(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) {
    if (errno == EEXIST) return false;
    return io_error(fmt::format("{}: cannot be made: {}", path,
                                std::error_code(errno, std::generic_category()).message()));
  }
  const ssize_t written = ::write(fd, text.data(), text.size());
  const bool whole = written == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  ::close(fd);
  if (whole) return true;
  ::unlink(path.c_str());
  return io_error(path + ": cannot be written");
}

int64_t touched_ns(const std::string& path) {
  struct stat about {};
  if (::stat(path.c_str(), &about) != 0) return 0;
  return int64_t{about.st_mtim.tv_sec} * 1'000'000'000 + about.st_mtim.tv_nsec;
}

}  // namespace

Claim::Claim(std::string path, std::string token, std::chrono::milliseconds touch)
    : path_(std::move(path)), token_(std::move(token)) {
  toucher_ = std::thread([this, touch] {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, touch, [this] { return released_; })) {
      ::utimensat(AT_FDCWD, path_.c_str(), nullptr, 0);
    }
  });
}

Claim::~Claim() {
  {
    const std::lock_guard lock(mutex_);
    released_ = true;
  }
  wake_.notify_all();
  toucher_.join();
  // A program that was suspended for a minute may have been inherited from.
  const auto text = read_text_file(path_, kMaxClaimBytes);
  if (text.ok() && token_of(*text) == token_) ::unlink(path_.c_str());
}

Claims::Claims(std::string folder, const ClaimTimes& times)
    : folder_(std::move(folder)), times_(times) {}

Result<std::unique_ptr<Claim>> Claims::take(const std::string& name) {
  const std::string path = folder_ + "/" + name;
  const std::string token = unique_word();
  const std::string text = claim_text(token);
  PARE_ASSIGN_OR_RETURN(bool mine, make_file(path, text));
  if (!mine) {
    const auto other = read_text_file(path, kMaxClaimBytes);
    if (!other.ok()) return std::unique_ptr<Claim>();  // given up just now: the next time
    const nlohmann::json claim = read_claim(*other);
    holder_ = claim.empty() ? "somebody"
                            : fmt::format("{}, process {}", claim["host"].get<std::string>(),
                                          claim["process"].get<int64_t>());
    if (is_dead(path, *other)) {
      PARE_ASSIGN_OR_RETURN(mine, inherit(path, token_of(*other), text));
    }
  }
  if (!mine) return std::unique_ptr<Claim>();
  seen_.erase(path);
  return std::unique_ptr<Claim>(new Claim(path, token, times_.touch));
}

bool Claims::is_dead(const std::string& path, const std::string& text) {
  const nlohmann::json claim = read_claim(text);
  if (!claim.empty() && claim["space"] == process_space()) {
    const auto process = static_cast<pid_t>(claim["process"].get<int64_t>());
    if (::kill(process, 0) != 0 && errno == ESRCH) return true;
  }
  Seen& seen = seen_[path];
  const int64_t touched = touched_ns(path);
  if (seen.token != token_of(text) || seen.touched_ns != touched) {
    seen = {token_of(text), touched, Clock::now()};
  }
  return Clock::now() - seen.since > times_.dead;
}

Result<bool> Claims::inherit(const std::string& path, const std::string& dead,
                             const std::string& mine) {
  const std::string name = hash_bytes(std::as_bytes(std::span(dead))).substr(0, 16);
  const std::string heir = path + ".heir-" + name;
  PARE_ASSIGN_OR_RETURN(const bool alone, make_file(heir, mine));
  if (!alone) {
    // An heir that died itself leaves its file.
    const auto text = read_text_file(heir, kMaxClaimBytes);
    if (text.ok() && is_dead(heir, *text)) ::unlink(heir.c_str());
    return false;
  }
  // Whoever saw the dead claim before it was inherited comes too late with an heir of his own.
  const auto now = read_text_file(path, kMaxClaimBytes);
  if (!now.ok() || token_of(*now) != dead) {
    ::unlink(heir.c_str());
    return false;
  }
  if (std::rename(heir.c_str(), path.c_str()) != 0) {
    return io_error(fmt::format("{}: cannot be renamed to {}", heir, path));
  }
  return true;
}

}  // namespace pare
