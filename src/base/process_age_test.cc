#include "base/process_age.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace pare {
namespace {

TEST(ProcessAge, RunsWithTheClock) {
  const auto before = process_age_s();
  ASSERT_TRUE(before.has_value());
  EXPECT_GE(*before, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  const double passed = *process_age_s() - *before;
  EXPECT_GE(passed, 0.055);
  EXPECT_LT(passed, 30);
}

}  // namespace
}  // namespace pare
