#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace pare {
namespace {

TEST(Utf8, SequencesOfEachLength) {
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8(std::string("plain \0 text", 12)));
  EXPECT_TRUE(
      is_utf8("\xC2\x80 \xDF\xBF \xE0\xA0\x80 \xEF\xBF\xBF \xF0\x90\x80\x80 \xF4\x8F\xBF\xBF"));
  EXPECT_EQ(utf8_length("a\xE2\x82\xAC", 1), 3U);
}

TEST(Utf8, WhatIsNone) {
  for (const char* text :
       {"\x80", "\xC3", "\xC3(", "\xC0\xAF", "\xE2\x82", "\xE0\x80\xAF", "\xED\xA0\x80",
        "\xF0\x80\x80\xAF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
    EXPECT_FALSE(is_utf8(text)) << text;
    EXPECT_FALSE(is_utf8(std::string("before ") + text)) << text;
  }
}

}  // namespace
}  // namespace pare
