#include "base/glob.h"

#include <algorithm>

namespace pare {

// The last `*` takes one character more whenever what follows it does not fit: quadratic at worst.
bool glob_match(std::string_view pattern, std::string_view name) {
  size_t p = 0;
  size_t n = 0;
  size_t star = std::string_view::npos;
  size_t taken = 0;  // where the text that the star stands for ends
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::vector<std::string> split_patterns(std::string_view list) {
  constexpr std::string_view kBlanks = " \t\n";
  std::vector<std::string> out;
  while (!list.empty()) {
    const size_t end = std::min(list.find(';'), list.size());
    std::string_view part = list.substr(0, end);
    list.remove_prefix(std::min(end + 1, list.size()));
    const size_t first = part.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) continue;
    part = part.substr(first, part.find_last_not_of(kBlanks) - first + 1);
    out.emplace_back(part);
  }
  return out;
}

}  // namespace pare
