#include "base/toml.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

namespace pare {

Result<toml::table> parse_toml(const std::string& text, const std::string& source) {
  try {
    return toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    return invalid_argument(
        fmt::format("{}:{}: not TOML: {}", source, error.source().begin.line, error.description()));
  }
}

std::string toml_text(const toml::node& node) {
  constexpr size_t kShown = 60;
  std::ostringstream stream;
  node.visit([&stream](const auto& value) { stream << value; });
  std::string text = stream.str();
  std::ranges::replace(text, '\n', ' ');  // a message is one line
  if (text.size() <= kShown) return text;
  size_t end = kShown;
  while (end > 0 && (text[end] & 0xC0) == 0x80) --end;  // not within a character
  return text.substr(0, end) + "…";
}

}  // namespace pare
