// Comparing results: integers exactly, floats within a tolerance that belongs to the operation.
//
// Every comparator reports the first element that differs and how many do; sizes that differ, a NaN
// on one side only, and an infinity that is not the same on both sides always fail.
#ifndef PARE_TESTING_COMPARE_H_
#define PARE_TESTING_COMPARE_H_

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>

#include "base/dtype.h"

namespace pare::testing_compare {

// |got - want| may be absolute + relative * |want|.
struct Tolerance {
  double absolute = 0.0;
  double relative = 0.0;
};

// Rounding error of storing one result in a floating type: half a unit in the last place.
inline double storage_epsilon(DType type) {
  switch (type) {
    case DType::kBFloat16:
      return 0x1p-8;
    case DType::kFloat16:
      return 0x1p-11;
    default:
      return 0x1p-24;
  }
}

// A sum of k products a*b in float32, in any order, with at most a few roundings after it: each
// partial sum is at most k*max|A|*max|B| and is rounded once, so the error is below
// k * eps * (k * max|A| * max|B|) in the worst case and about sqrt(k) * eps * ... in practice. The
// house's rule c * k * eps * max|A| * max|B| with c = 2 stands between them. `stored` is the type
// of the result; `after` bounds what was added after the sum (bias, residual).
inline Tolerance product_tolerance(int64_t k, double max_a, double max_b, DType stored,
                                   double after = 0.0) {
  constexpr double kFactor = 2.0;
  constexpr double kEpsilon = 0x1p-23;
  Tolerance t;
  t.absolute = kFactor * kEpsilon * (static_cast<double>(k) * max_a * max_b + after);
  t.relative = 2.0 * storage_epsilon(stored);
  if (stored == DType::kFloat16) t.absolute += 0x1p-24;  // subnormal steps
  return t;
}

// A function of one element that errs by `ulps` units in the last place of numbers of size `scale`.
inline Tolerance elementwise_tolerance(double ulps, double scale, DType stored) {
  return {ulps * 0x1p-23 * scale, 2.0 * storage_epsilon(stored)};
}

// Distance in units of the last place; a NaN against a number is the largest distance, against a
// NaN 0; -0 and +0 are the same.
inline int64_t ulp_distance(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) {
    return std::isnan(a) && std::isnan(b) ? 0 : std::numeric_limits<int64_t>::max();
  }
  const auto ordered = [](float v) -> int64_t {
    const auto bits = std::bit_cast<uint32_t>(v);
    const int64_t magnitude = bits & 0x7fffffffU;
    return (bits >> 31) != 0 ? -magnitude : magnitude;
  };
  const int64_t d = ordered(a) - ordered(b);
  return d < 0 ? -d : d;
}

namespace detail {

inline bool close(double got, double want, const Tolerance& t) {
  if (std::isnan(got) || std::isnan(want)) return std::isnan(got) && std::isnan(want);
  if (std::isinf(got) || std::isinf(want)) return got == want;
  return std::abs(got - want) <= t.absolute + t.relative * std::abs(want);
}

template <typename T, typename Same>
::testing::AssertionResult compare(std::span<const T> got, std::span<const T> want, Same&& same) {
  if (got.size() != want.size()) {
    return ::testing::AssertionFailure() << got.size() << " elements, expected " << want.size();
  }
  size_t bad = 0;
  size_t first = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (same(got[i], want[i])) continue;
    if (bad++ == 0) first = i;
  }
  if (bad == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << bad << " of " << got.size() << " elements differ; the first, [" << first << "], is "
         << +got[first] << ", expected " << +want[first];
}

}  // namespace detail

// Every element equal; floats by value, except that NaN equals NaN.
template <typename T>
::testing::AssertionResult all_equal(std::span<const T> got, std::span<const T> want) {
  return detail::compare(got, want, [](T g, T w) { return g == w || (g != g && w != w); });
}

inline ::testing::AssertionResult all_close(std::span<const float> got, std::span<const float> want,
                                            const Tolerance& tolerance) {
  auto result =
      detail::compare(got, want, [&](float g, float w) { return detail::close(g, w, tolerance); });
  if (!result) {
    result << " within " << tolerance.absolute << " + " << tolerance.relative << " * |expected|";
  }
  return result;
}

inline ::testing::AssertionResult all_within_ulps(std::span<const float> got,
                                                  std::span<const float> want, int64_t ulps) {
  auto result =
      detail::compare(got, want, [&](float g, float w) { return ulp_distance(g, w) <= ulps; });
  if (!result) result << " within " << ulps << " units in the last place";
  return result;
}

}  // namespace pare::testing_compare

#endif  // PARE_TESTING_COMPARE_H_
