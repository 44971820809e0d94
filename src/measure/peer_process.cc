#include "measure/peer_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/file.h"

namespace pare {
namespace {

// Scores of a large batch of a thousand classes are some megabytes.
constexpr size_t kMaxLineBytes = size_t{1} << 28;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The folders above `path`, nearest first.
std::vector<std::filesystem::path> folders_above(std::filesystem::path path) {
  std::vector<std::filesystem::path> folders;
  while (path.has_parent_path() && path != path.parent_path()) {
    path = path.parent_path();
    folders.push_back(path);
  }
  return folders;
}

Status failed(const std::string& what) {
  return internal_error(fmt::format("peer: {}: {}", what, std::strerror(errno)));
}

}  // namespace

Result<PeerPlace> find_peers() {
  const std::string folder = environment("PARE_PEERS");
  std::string python = environment("PARE_PEERS_PYTHON");
  std::vector<std::filesystem::path> roots;
  if (!folder.empty()) {
    roots = {std::filesystem::path(folder).parent_path()};
    if (!file_exists(folder + "/peer.py")) {
      return not_found(folder + "/peer.py: not there; PARE_PEERS names the folder peers/");
    }
  } else {
    std::error_code error;
    roots = {std::filesystem::current_path(error)};
    const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
    for (auto& above : folders_above(program)) roots.push_back(std::move(above));
  }
  for (const auto& root : roots) {
    const std::string script =
        folder.empty() ? (root / "peers/peer.py").string() : folder + "/peer.py";
    if (!file_exists(script)) continue;
    if (python.empty()) python = (root / "build/peers/bin/python").string();
    if (!file_exists(python)) {
      return not_found(fmt::format("{}: not there; install the peers with {}", python,
                                   (root / "peers/setup").string()));
    }
    return PeerPlace{python, script};
  }
  return not_found(
      "peers/peer.py: found neither here nor above the program; PARE_PEERS may name "
      "its folder");
}

Result<PeerProcess> PeerProcess::start(const PeerPlace& place) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return failed("socketpair");
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  // Warnings of libraries are nobody's; what goes wrong comes as an answer.
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  std::string python = place.python;
  std::string script = place.script;
  std::array<char*, 3> arguments = {python.data(), script.data(), nullptr};
  pid_t pid = -1;
  const int error =
      ::posix_spawn(&pid, python.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    return io_error(fmt::format("{}: {}", place.python, std::strerror(error)));
  }
  return PeerProcess(pid, ends[0]);
}

PeerProcess::PeerProcess(PeerProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      socket_(std::exchange(other.socket_, -1)),
      buffer_(std::move(other.buffer_)) {}

PeerProcess& PeerProcess::operator=(PeerProcess&& other) noexcept {
  if (this == &other) return *this;
  end();
  pid_ = std::exchange(other.pid_, -1);
  socket_ = std::exchange(other.socket_, -1);
  buffer_ = std::move(other.buffer_);
  return *this;
}

PeerProcess::~PeerProcess() { end(); }

void PeerProcess::end() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  if (pid_ < 0) return;
  ::kill(pid_, SIGTERM);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

Status PeerProcess::send_line(const std::string& line) const {
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t n = ::send(socket_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("the process ended");
    sent += static_cast<size_t>(n);
  }
  return ok_status();
}

Result<std::string> PeerProcess::read_line(double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::duration<double>(seconds);
  std::array<char, 65536> chunk{};
  while (true) {
    if (const size_t newline = buffer_.find('\n'); newline != std::string::npos) {
      std::string line = buffer_.substr(0, newline);
      buffer_.erase(0, newline + 1);
      return line;
    }
    if (buffer_.size() > kMaxLineBytes) return internal_error("peer: an answer without an end");
    const std::chrono::duration<double, std::milli> left = deadline - Clock::now();
    if (left.count() <= 0) return internal_error(fmt::format("peer: no answer in {} s", seconds));
    pollfd waiting{socket_, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(left.count()) + 1);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    if (ready < 0) return failed("poll");
    const ssize_t n = ::recv(socket_, chunk.data(), chunk.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return internal_error("peer: the process ended without an answer");
    buffer_.append(chunk.data(), static_cast<size_t>(n));
  }
}

Result<nlohmann::json> PeerProcess::ask(const nlohmann::json& request, double seconds) {
  if (socket_ < 0) return internal_error("peer: the process has ended");
  PARE_RETURN_IF_ERROR(send_line(request.dump() + "\n"));
  auto line = read_line(seconds);
  if (!line.ok()) {
    end();  // what comes later would answer an older question
    return line.status();
  }
  nlohmann::json answer = nlohmann::json::parse(*line, nullptr, false);
  if (answer.is_discarded() || !answer.is_object()) {
    end();
    return internal_error("peer: answered '" + line->substr(0, 80) + "', expected a JSON object");
  }
  if (const auto error = answer.find("error"); error != answer.end() && error->is_string()) {
    return unsupported(error->get<std::string>());
  }
  return answer;
}

}  // namespace pare
