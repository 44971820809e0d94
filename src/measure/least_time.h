// The least time of several tries: what is in the way of one may spare another.
#ifndef PARE_MEASURE_LEAST_TIME_H_
#define PARE_MEASURE_LEAST_TIME_H_

#include <algorithm>
#include <chrono>
#include <limits>

namespace pare {

inline double us_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
      .count();
}

// Of up to `tries` calls of run(), microseconds. On a machine that is busy with something else they
// take much longer and find no more: after 50 ms three have to do.
template <typename Run>
double least_us(int tries, const Run& run) {
  constexpr double kBudgetUs = 50'000;
  constexpr int kFewest = 3;
  double least = std::numeric_limits<double>::infinity();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < tries && (i < kFewest || us_since(start) < kBudgetUs); ++i) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    least = std::min(least, us_since(begin));
  }
  return least;
}

}  // namespace pare

#endif  // PARE_MEASURE_LEAST_TIME_H_
