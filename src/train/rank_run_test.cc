// Whole runs by several processes, as a launcher starts them.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "graph/model_file.h"
#include "testing/files.h"
#include "train/rank_threads.h"

extern char** environ;

namespace pare {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr milliseconds kPatience{120000};

// The tiny run as so many processes at once.
class Processes {
 public:
  // Without `words` the run is new. `size` 1: no launcher.
  Processes(const testing_files::TemporaryFolder& home, std::string run, int size,
            std::vector<std::string> words)
      : home_(home), run_(std::move(run)), words_(std::move(words)) {
    const int port = free_port();
    for (int r = 0; r < size; ++r) pids_.push_back(start(r, size, port));
  }
  ~Processes() {
    for (const pid_t pid : pids_) {
      if (pid > 0) ::kill(pid, SIGKILL);
    }
    for (const pid_t pid : pids_) {
      if (pid > 0) waitpid(pid, nullptr, 0);
    }
  }
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;

  void kill(int rank) { ::kill(pids_[static_cast<size_t>(rank)], SIGKILL); }
  bool runs(int rank) const {
    siginfo_t ended{};
    const auto pid = static_cast<id_t>(pids_[static_cast<size_t>(rank)]);
    return waitid(P_PID, pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == 0;
  }
  // Waits until a rank has ended; its exit code, -1 if a signal ended it or it does not end.
  int exit_code(int rank) {
    pid_t& pid = pids_[static_cast<size_t>(rank)];
    const auto end = std::chrono::steady_clock::now() + kPatience;
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) != pid) {
      if (std::chrono::steady_clock::now() > end) return -1;
      std::this_thread::sleep_for(milliseconds(5));
    }
    pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string said(int rank) const { return read_text_file(output(rank)).value(); }

 private:
  std::string output(int rank) const { return home_.path(run_ + ".rank" + std::to_string(rank)); }

  pid_t start(int rank, int size, int port) const {
    std::vector<std::string> variables;
    for (char** v = environ; *v != nullptr; ++v) variables.emplace_back(*v);
    if (size > 1) {
      for (const auto& [name, value] : {std::pair{"RANK", rank},
                                        {"LOCAL_RANK", rank},
                                        {"WORLD_SIZE", size},
                                        {"MASTER_PORT", port}}) {
        variables.push_back(std::string(name) + "=" + std::to_string(value));
      }
      variables.emplace_back("MASTER_ADDR=127.0.0.1");
    }
    std::vector<std::string> arguments = {PARE_TINY_RUN, home_.path(run_), "plain"};
    arguments.insert(arguments.end(), words_.begin(), words_.end());
    const auto pointers = [](std::vector<std::string>& texts) {
      std::vector<char*> out;
      for (std::string& text : texts) out.push_back(text.data());
      out.push_back(nullptr);
      return out;
    };
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, output(rank).c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t pid = 0;
    EXPECT_EQ(0, posix_spawn(&pid, PARE_TINY_RUN, &actions, nullptr, pointers(arguments).data(),
                             pointers(variables).data()));
    posix_spawn_file_actions_destroy(&actions);
    return pid;
  }

  const testing_files::TemporaryFolder& home_;
  std::string run_;
  std::vector<std::string> words_;
  std::vector<pid_t> pids_;
};

// The largest difference of any weight, as a share of the largest weight.
double parted(const std::string& a, const std::string& b) {
  const auto one = load_model(a + "/model.onnx");
  const auto other = load_model(b + "/model.onnx");
  EXPECT_TRUE(one.ok() && other.ok());
  float largest = 0;
  float difference = 0;
  for (const auto& [name, tensor] : one->initializers) {
    if (tensor.type() != DType::kFloat32) continue;
    const auto x = tensor.values<float>();
    const auto y = other->initializers.at(name).values<float>();
    for (size_t i = 0; i < x.size(); ++i) {
      largest = std::max(largest, std::fabs(x[i]));
      difference = std::max(difference, std::fabs(x[i] - y[i]));
    }
  }
  return difference / largest;
}

// Sixty steps let differences in the last bits grow (to 7e-7); a wrong share is far beyond.
constexpr double kRounding = 1e-5;

class RankRun : public testing::Test {
 protected:
  void train_whole() {
    Processes whole(home_, "whole", 1, {});
    ASSERT_EQ(whole.exit_code(0), 0) << whole.said(0);
  }
  std::string checkpoint(const std::string& run) const {
    return home_.path(run + "/checkpoint.pare-train");
  }
  testing_files::TemporaryFolder home_;
};

TEST_F(RankRun, AnyNumberOfRanksTrainsTheSameNet) {
  train_whole();
  for (const int size : {2, 3}) {
    const std::string run = "of" + std::to_string(size);
    Processes ranks(home_, run, size, {});
    for (int r = 0; r < size; ++r) EXPECT_EQ(ranks.exit_code(r), 0) << ranks.said(r);
    EXPECT_LE(parted(home_.path("whole"), home_.path(run)), kRounding) << size;
    // Rank 0 alone speaks, and writes each epoch once.
    for (int r = 1; r < size; ++r) EXPECT_THAT(ranks.said(r), IsEmpty());
    const std::string records = read_text_file(home_.path(run + "/records.jsonl")).value();
    EXPECT_EQ(std::count(records.begin(), records.end(), '\n'), 4);
  }
}

TEST_F(RankRun, ADeadRankIsNamedByTheOthersAndTwoGoOnWithWhatFourBegan) {
  train_whole();
  {
    Processes four(home_, "parts", 4, {});
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!file_exists(checkpoint("parts")) && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    ASSERT_TRUE(four.runs(2));
    four.kill(2);
    const auto killed = std::chrono::steady_clock::now();
    for (const int r : {0, 1, 3}) {
      EXPECT_EQ(four.exit_code(r), 1);
      EXPECT_THAT(four.said(r), HasSubstr("rank " + std::to_string(r) + " of 4 on "));
      EXPECT_THAT(four.said(r), HasSubstr("stopped, for rank 2 of 4 on ")) << r;
    }
    EXPECT_LT(std::chrono::steady_clock::now() - killed, milliseconds(60000));
    EXPECT_FALSE(file_exists(home_.path("parts/model.onnx")));
  }
  Processes two(home_, "parts", 2, {"resume"});
  for (const int r : {0, 1}) EXPECT_EQ(two.exit_code(r), 0) << two.said(r);
  EXPECT_LE(parted(home_.path("whole"), home_.path("parts")), kRounding);
  const std::string records = read_text_file(home_.path("parts/records.jsonl")).value();
  EXPECT_EQ(std::count(records.begin(), records.end(), '\n'), 4);
}

TEST_F(RankRun, WhatOneRankCannotDoAllSay) {
  ASSERT_TRUE(make_directories(home_.path("taken")).ok());
  ASSERT_TRUE(write_file(home_.path("taken/model.onnx"), "x").ok());
  Processes ranks(home_, "taken", 2, {});
  for (const int r : {0, 1}) {
    EXPECT_EQ(ranks.exit_code(r), 1);
    EXPECT_THAT(ranks.said(r), HasSubstr("rank 0 of 2 on "));
    EXPECT_THAT(ranks.said(r), HasSubstr("holds a training run already"));
  }
}

}  // namespace
}  // namespace pare
