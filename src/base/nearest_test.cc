#include "base/nearest.h"

#include <gtest/gtest.h>

namespace pare {
namespace {

TEST(EditDistance, CountsInsertionsRemovalsAndChanges) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("abc", ""), 3U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);  // Levenshtein's textbook pair
  EXPECT_EQ(edit_distance("saturday", "sunday"), 3U);
}

TEST(NearestName, IsTheFirstOfTheNearest) {
  EXPECT_EQ(nearest_name("in8", {"fp16", "int8", "int4"}), "int8");
  EXPECT_EQ(nearest_name("x", {"a", "b"}), "a");
  EXPECT_EQ(nearest_name("x", {}), "");
}

}  // namespace
}  // namespace pare
