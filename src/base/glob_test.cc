#include "base/glob.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pare {
namespace {

TEST(Glob, AStarStandsForAnyText) {
  EXPECT_TRUE(glob_match("whiten.weight", "whiten.weight"));
  EXPECT_FALSE(glob_match("whiten.weight", "whiten.weights"));
  EXPECT_TRUE(glob_match("*.norm*.weight", "group1.norm2.weight"));
  EXPECT_FALSE(glob_match("*.norm*.weight", "group1.norm2.bias"));
  EXPECT_TRUE(glob_match("a*b*c", "abbc"));
  EXPECT_TRUE(glob_match("a*b*c", "a-b-b-c"));
  EXPECT_FALSE(glob_match("a*b*c", "a-c-b"));
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_TRUE(glob_match("**", "x"));
  EXPECT_TRUE(glob_match("", ""));
  EXPECT_FALSE(glob_match("", "x"));
}

TEST(Glob, ListsAreSplitAtSemicolons) {
  EXPECT_THAT(split_patterns(" a.* ;b;; "), testing::ElementsAre("a.*", "b"));
  EXPECT_THAT(split_patterns(""), testing::IsEmpty());
}

}  // namespace
}  // namespace pare
