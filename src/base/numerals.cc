#include "base/numerals.h"

namespace pare {

std::string with_thousands(int64_t number) {
  std::string digits = std::to_string(number);
  const size_t first = digits[0] == '-' ? 1 : 0;
  for (size_t i = digits.size(); i > first + 3;) {
    i -= 3;
    digits.insert(i, 1, ',');
  }
  return digits;
}

int64_t saturating_product(std::initializer_list<int64_t> factors) {
  int64_t product = 1;
  bool too_much = false;
  for (const int64_t factor : factors) {
    if (factor == 0) return 0;
    too_much = too_much || __builtin_mul_overflow(product, factor, &product);
  }
  return too_much ? INT64_MAX : product;
}

int64_t saturating_sum(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

}  // namespace pare
