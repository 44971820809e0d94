// Numbers as people read them, and counts that a file may make larger than any number.
#ifndef PARE_BASE_NUMERALS_H_
#define PARE_BASE_NUMERALS_H_

#include <cstdint>
#include <initializer_list>
#include <string>

namespace pare {

// "12,345,678".
std::string with_thousands(int64_t number);

// Of numbers that are not negative; the greatest int64 stands for all that is greater.
int64_t saturating_product(std::initializer_list<int64_t> factors);
int64_t saturating_sum(int64_t a, int64_t b);

}  // namespace pare

#endif  // PARE_BASE_NUMERALS_H_
