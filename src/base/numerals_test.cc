#include "base/numerals.h"

#include <gtest/gtest.h>

namespace pare {
namespace {

TEST(WithThousands, CommasStandBetweenThreeDigitsOnly) {
  EXPECT_EQ(with_thousands(0), "0");
  EXPECT_EQ(with_thousands(999), "999");
  EXPECT_EQ(with_thousands(-999), "-999");
  EXPECT_EQ(with_thousands(1000), "1,000");
  EXPECT_EQ(with_thousands(-1000), "-1,000");
  EXPECT_EQ(with_thousands(12345678), "12,345,678");
  EXPECT_EQ(with_thousands(INT64_MIN), "-9,223,372,036,854,775,808");
}

TEST(Saturating, WhatIsTooMuchIsTheGreatest) {
  EXPECT_EQ(saturating_product({}), 1);
  EXPECT_EQ(saturating_product({3, 5, 7}), 105);
  EXPECT_EQ(saturating_product({int64_t{1} << 40, int64_t{1} << 22}), int64_t{1} << 62);
  EXPECT_EQ(saturating_product({int64_t{1} << 40, int64_t{1} << 23}), INT64_MAX);
  EXPECT_EQ(saturating_product({int64_t{1} << 40, int64_t{1} << 40, 0}), 0);
  EXPECT_EQ(saturating_sum(2, 3), 5);
  EXPECT_EQ(saturating_sum(INT64_MAX, 1), INT64_MAX);
}

}  // namespace
}  // namespace pare
