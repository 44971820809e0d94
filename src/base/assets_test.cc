#include "base/assets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "testing/files.h"

namespace pare {
namespace {

using testing_files::TemporaryFolder;

TEST(Assets, AreSoughtInTheDocumentedOrder) {
  const auto places = asset_candidates("zoo/a.pare", "/src/build/lite", "/home/me");
  EXPECT_THAT(places,
              testing::ElementsAre("/home/me/zoo/a.pare", "/src/build/lite/share/pare/zoo/a.pare",
                                   "/src/build/share/pare/zoo/a.pare", "/src/build/lite/zoo/a.pare",
                                   "/src/build/zoo/a.pare", "/src/zoo/a.pare", "/zoo/a.pare"));
  EXPECT_EQ(asset_candidates("x", "/usr/bin", "").front(), "/usr/bin/share/pare/x");
}

TEST(Assets, HomeComesFirstAndMissingOnesAreExplained) {
  const char* before = std::getenv("PARE_HOME");
  const std::string kept = before == nullptr ? "" : before;
  TemporaryFolder folder;
  ASSERT_TRUE(write_file(folder.path("thing"), "x").ok());
  ASSERT_EQ(setenv("PARE_HOME", folder.path().c_str(), 1), 0);
  const auto found = find_asset("thing");
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(*found, folder.path("thing"));
  const auto missing = find_asset("no such thing");
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), testing::HasSubstr(folder.path("no such thing")));
  if (before == nullptr) {
    unsetenv("PARE_HOME");
  } else {
    setenv("PARE_HOME", kept.c_str(), 1);
  }
}

}  // namespace
}  // namespace pare
