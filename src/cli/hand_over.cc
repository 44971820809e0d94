// `pare` where training is asked for: pare-train takes its place (same process, so that signals,
// streams and the exit code need no passing on).

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/trainer.h"

namespace pare {
namespace {

// Beside this program itself, whichever link it was called by; never what $PATH happens to hold.
std::string trainer_path() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return "";
  return (program.parent_path() / "pare-train").string();
}

std::vector<std::string> command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string one; std::getline(file, one, '\0');) arguments.push_back(one);
  return arguments;
}

}  // namespace

bool can_train() { return access(trainer_path().c_str(), X_OK) == 0; }

Status hand_over_training() {
  const std::string path = trainer_path();
  if (!can_train()) {
    return unsupported(fmt::format("this build of pare has no training: there is no {}", path));
  }
  // OpenMP reads it while its library is loaded, before main. Its default, spinning, makes a
  // training step three to ten times slower as soon as anything else (our own loader, another
  // program) wants the cores.
  setenv("OMP_WAIT_POLICY", "passive", /*replace=*/0);
  // LibTorch's warnings about connections between ranks are for those who develop it, and every
  // rank would print them.
  setenv("TORCH_CPP_LOG_LEVEL", "ERROR", /*replace=*/0);
  std::vector<std::string> arguments = command_line();
  std::vector<char*> argv(arguments.size() + 1, nullptr);
  std::ranges::transform(arguments, argv.begin(), [](std::string& one) { return one.data(); });
  execv(path.c_str(), argv.data());
  return io_error(path + ": " + std::strerror(errno));
}

std::unique_ptr<Trainer> make_trainer(const std::string&, const std::atomic<bool>*) {
  return nullptr;
}

std::unique_ptr<StudyTrainer> make_study_trainer(const std::atomic<bool>*) { return nullptr; }

// Listed only: main.cc hands it over before its options are read, for they too are pare-train's.
Command make_train_command() {
  return {.name = kTrainCommand,
          .summary = kTrainSummary,
          .setup = [](CLI::App&) { return hand_over_training; },
          .listed = can_train()};
}

}  // namespace pare
