// The name that somebody who mistyped one most likely meant.
#ifndef PARE_BASE_NEAREST_H_
#define PARE_BASE_NEAREST_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace pare {

// Letters that must be inserted, removed or changed to make `b` of `a` (Levenshtein 1966).
size_t edit_distance(std::string_view a, std::string_view b);

// Of `valid`, the first with the least distance; empty when there is none to choose.
std::string nearest_name(std::string_view word, const std::vector<std::string>& valid);

}  // namespace pare

#endif  // PARE_BASE_NEAREST_H_
