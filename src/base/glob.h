// Names chosen by pattern: `*` stands for any text, the empty one too; everything else for itself.
#ifndef PARE_BASE_GLOB_H_
#define PARE_BASE_GLOB_H_

#include <string>
#include <string_view>
#include <vector>

namespace pare {

bool glob_match(std::string_view pattern, std::string_view name);

// "a;b*" -> {"a", "b*"}; blanks around a pattern do not count, empty patterns are left out.
std::vector<std::string> split_patterns(std::string_view list);

}  // namespace pare

#endif  // PARE_BASE_GLOB_H_
