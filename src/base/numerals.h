// Numbers as people read them.
#ifndef PARE_BASE_NUMERALS_H_
#define PARE_BASE_NUMERALS_H_

#include <cstdint>
#include <string>

namespace pare {

// "12,345,678".
std::string with_thousands(int64_t number);

}  // namespace pare

#endif  // PARE_BASE_NUMERALS_H_
