// Who may do what in a folder that programs share.
#include "study/claims.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/file.h"
#include "testing/files.h"

namespace pare {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr ClaimTimes kFast{milliseconds(20), milliseconds(200)};

class ClaimTest : public testing::Test {
 protected:
  std::unique_ptr<Claim> take(Claims& claims) {
    auto claim = claims.take("work");
    EXPECT_TRUE(claim.ok()) << claim.status().message();
    return claim.ok() ? *std::move(claim) : nullptr;
  }
  // A claim of a program on another host.
  void write_foreign() {
    const nlohmann::json text = {
        {"token", "t1"}, {"host", "far"}, {"process", getpid()}, {"space", "elsewhere"}};
    ASSERT_TRUE(write_file(folder_.path("work"), text.dump()).ok());
  }
  size_t files() const {
    const std::filesystem::directory_iterator all(folder_.path());
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }
  testing_files::TemporaryFolder folder_;
};

TEST_F(ClaimTest, IsHeldByOneUntilItIsGivenUp) {
  Claims one(folder_.path());
  Claims two(folder_.path());
  std::unique_ptr<Claim> held = take(one);
  ASSERT_NE(held, nullptr);
  EXPECT_EQ(take(two), nullptr);
  EXPECT_THAT(two.holder(), HasSubstr("process " + std::to_string(getpid())));
  held.reset();
  EXPECT_NE(take(two), nullptr);
  EXPECT_EQ(files(), 0U);
}

TEST_F(ClaimTest, OfAProgramThatDiedHereIsRetakenAtOnce) {
  const pid_t child = fork();
  if (child == 0) {
    Claims claims(folder_.path());
    auto claim = claims.take("work");
    _exit(claim.ok() && *claim != nullptr ? 0 : 1);  // without giving it up
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 0);
  Claims claims(folder_.path());
  EXPECT_NE(take(claims), nullptr);
}

TEST_F(ClaimTest, OfAnotherHostIsRetakenWhenNobodyTouchesItAnyMore) {
  write_foreign();
  Claims claims(folder_.path(), kFast);
  const auto begin = std::chrono::steady_clock::now();
  std::unique_ptr<Claim> claim;
  while (claim == nullptr) {
    claim = take(claims);
    ASSERT_LT(std::chrono::steady_clock::now() - begin, milliseconds(20000));
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_GE(std::chrono::steady_clock::now() - begin, kFast.dead);
  EXPECT_EQ(claims.holder(), "far, process " + std::to_string(getpid()));
}

TEST_F(ClaimTest, OneThatIsTouchedStaysItsHolders) {
  Claims one(folder_.path(), kFast);
  const std::unique_ptr<Claim> held = take(one);
  // As another host sees it: its process is none of ours.
  auto text = nlohmann::json::parse(*read_text_file(folder_.path("work")));
  text["space"] = "elsewhere";
  { std::ofstream(folder_.path("work")) << text.dump(); }
  Claims two(folder_.path(), kFast);
  const auto begin = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - begin < 3 * kFast.dead) {
    EXPECT_EQ(take(two), nullptr);
    std::this_thread::sleep_for(milliseconds(10));
  }
}

TEST_F(ClaimTest, AnHeirThatDiedIsInheritedFromItself) {
  write_foreign();
  Claims claims(folder_.path(), kFast);
  const std::string dead = "t1";
  const std::string heir =
      folder_.path("work.heir-" + hash_bytes(std::as_bytes(std::span(dead))).substr(0, 16));
  ASSERT_TRUE(write_file(heir, "never finished").ok());
  const auto begin = std::chrono::steady_clock::now();
  while (take(claims) == nullptr) {
    ASSERT_LT(std::chrono::steady_clock::now() - begin, milliseconds(20000));
    std::this_thread::sleep_for(milliseconds(10));
  }
}

TEST_F(ClaimTest, OfManyHeirsOneAloneSucceeds) {
  write_foreign();
  std::atomic<int> holders = 0;
  std::vector<std::thread> programs;
  for (int p = 0; p < 8; ++p) {
    programs.emplace_back([&] {
      Claims claims(folder_.path(), kFast);
      const auto begin = std::chrono::steady_clock::now();
      std::unique_ptr<Claim> claim;
      while (claim == nullptr && std::chrono::steady_clock::now() - begin < 4 * kFast.dead) {
        claim = take(claims);
        std::this_thread::sleep_for(milliseconds(1));
      }
      if (claim != nullptr) ++holders;
      std::this_thread::sleep_for(4 * kFast.dead);  // held until all have given up
    });
  }
  for (std::thread& program : programs) program.join();
  EXPECT_EQ(holders, 1);
}

TEST_F(ClaimTest, AFolderThatCannotBeWrittenIsNamed) {
  Claims claims(folder_.path("missing"));
  EXPECT_THAT(claims.take("work").status().message(), HasSubstr("missing/work"));
}

}  // namespace
}  // namespace pare
