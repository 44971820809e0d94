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

}  // namespace
}  // namespace pare
