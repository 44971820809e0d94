#include "cli/stop_signal.h"

#include <unistd.h>

#include <csignal>

namespace pare {
namespace {

// Only a signal handler may be global: it gets no argument.
std::atomic<bool> stop_asked = false;

extern "C" void ask_to_stop(int signal) {
  std::signal(signal, SIG_DFL);
  stop_asked = true;
  constexpr char kWords[] = "\nstopping after this step; once more to stop at once\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kWords, sizeof(kWords) - 1);
}

}  // namespace

const std::atomic<bool>* take_stop_signals() {
  std::signal(SIGINT, ask_to_stop);
  std::signal(SIGTERM, ask_to_stop);
  return &stop_asked;
}

}  // namespace pare
