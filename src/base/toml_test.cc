#include "base/toml.h"

#include <gtest/gtest.h>

#include "base/utf8.h"

namespace pare {
namespace {

TEST(Toml, AnErrorNamesFileAndLine) {
  const auto table = parse_toml("a = 1\nb = \n", "r.toml");
  ASSERT_FALSE(table.ok());
  EXPECT_EQ(table.status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(table.status().message().starts_with("r.toml:2: not TOML: "))
      << table.status().message();
}

TEST(Toml, ValuesAreShownAsTheyStand) {
  const auto table =
      parse_toml("a = \"fast\"\nb = 1.5\nc = true\nd = [1, \"x\"]\ne = { f = 1 }\n", "r.toml");
  ASSERT_TRUE(table.ok()) << table.status().message();
  EXPECT_EQ(toml_text(*table->get("a")), "'fast'");
  EXPECT_EQ(toml_text(*table->get("b")), "1.5");
  EXPECT_EQ(toml_text(*table->get("c")), "true");
  EXPECT_EQ(toml_text(*table->get("d")), "[ 1, 'x' ]");
  EXPECT_EQ(toml_text(*table->get("e")).find('\n'), std::string::npos);
  const auto long_one = parse_toml("a = \"" + std::string(1000, 'x') + "\"", "r.toml");
  ASSERT_TRUE(long_one.ok());
  EXPECT_LT(toml_text(*long_one->get("a")).size(), 100U);
  std::string umlauts;
  for (int i = 0; i < 100; ++i) umlauts += "ü";
  for (const std::string& text : {umlauts, "x" + umlauts}) {
    const auto table_of_it = parse_toml("a = \"" + text + "\"", "r.toml");
    ASSERT_TRUE(table_of_it.ok());
    EXPECT_TRUE(is_utf8(toml_text(*table_of_it->get("a")))) << text;
  }
}

}  // namespace
}  // namespace pare
