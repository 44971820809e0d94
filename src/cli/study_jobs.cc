#include "cli/study_jobs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace pare {

Status StudyJobs::start(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "pare");
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return io_error(fmt::format("another job cannot be started: {}", std::strerror(error)));
  }
  pids_.push_back(pid);
  return ok_status();
}

StudyJobs::~StudyJobs() {
  for (const pid_t pid : pids_) {
    if (waitpid(pid, nullptr, WNOHANG) == 0) ::kill(pid, SIGTERM);
  }
  for (const pid_t pid : pids_) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

}  // namespace pare
