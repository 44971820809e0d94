#include "base/stats.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace pare {

Interval wilson_interval(int64_t successes, int64_t trials, double z) {
  if (trials <= 0) return {0.0, 1.0};
  const auto n = static_cast<double>(trials);
  const double p = static_cast<double>(successes) / n;
  const double z2 = z * z;
  const double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const double half = z / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  // At k = 0 and k = n the bounds are exactly 0 and 1; rounding must not put them outside.
  return {successes == 0 ? 0.0 : std::max(0.0, centre - half),
          successes == trials ? 1.0 : std::min(1.0, centre + half)};
}

double mcnemar_exact(int64_t only_first, int64_t only_second) {
  const int64_t n = only_first + only_second;
  if (n == 0) return 1.0;
  const int64_t k = std::min(only_first, only_second);
  // Twice the lower tail of the binomial (n, 1/2), summed in logarithms: n may be thousands.
  const double log_half_n = static_cast<double>(n) * std::log(0.5);
  double tail = 0;
  for (int64_t i = 0; i <= k; ++i) {
    const auto a = static_cast<double>(i);
    const auto b = static_cast<double>(n - i);
    tail += std::exp(std::lgamma(static_cast<double>(n) + 1) - std::lgamma(a + 1) -
                     std::lgamma(b + 1) + log_half_n);
  }
  return std::min(1.0, 2 * tail);
}

Interval paired_difference_interval(int64_t both, int64_t only_first, int64_t only_second,
                                    int64_t neither, double z) {
  const int64_t total = both + only_first + only_second + neither;
  if (total == 0) return {-1.0, 1.0};
  const auto n = static_cast<double>(total);
  const auto e = static_cast<double>(both);
  const auto f = static_cast<double>(only_second);
  const auto g = static_cast<double>(only_first);
  const auto h = static_cast<double>(neither);
  const double p1 = (e + f) / n;  // the second model's share right
  const double p2 = (e + g) / n;
  const Interval w1 = wilson_interval(both + only_second, total, z);
  const Interval w2 = wilson_interval(both + only_first, total, z);
  // The correlation of the two, with Newcombe's continuity correction of its numerator.
  const double product = (e + f) * (g + h) * (e + g) * (f + h);
  double phi = 0;
  if (product > 0) {
    const double numerator = e * h - f * g;
    const double corrected = numerator > n / 2 ? numerator - n / 2 : std::min(numerator, 0.0);
    phi = corrected / std::sqrt(product);
  }
  const double dl1 = p1 - w1.low;
  const double du1 = w1.high - p1;
  const double dl2 = p2 - w2.low;
  const double du2 = w2.high - p2;
  const double delta = std::sqrt(std::max(0.0, dl1 * dl1 - 2 * phi * dl1 * du2 + du2 * du2));
  const double epsilon = std::sqrt(std::max(0.0, dl2 * dl2 - 2 * phi * dl2 * du1 + du1 * du1));
  return {p1 - p2 - delta, p1 - p2 + epsilon};
}

namespace {

double sorted_quantile(const std::vector<double>& sorted, double q) {
  const double position = std::clamp(q, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

// Student's t at 97.5 % for 1 … 30 degrees of freedom (any table); beyond, the normal's with the
// first term of the Cornish-Fisher expansion, right to 0.001.
double student_t_975(int64_t degrees) {
  static constexpr double kTable[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                                      2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                                      2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                                      2.060,  2.056, 2.052, 2.048, 2.045, 2.042};
  if (degrees <= 30) return kTable[degrees - 1];
  const double z = 1.959963984540054;
  return z + (z * z * z + z) / (4.0 * static_cast<double>(degrees));
}

}  // namespace

double quantile(std::span<const double> samples, double q) {
  if (samples.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted_quantile(sorted, q);
}

MeanInterval mean_interval(std::span<const double> samples) {
  MeanInterval result;
  if (samples.empty()) return result;
  const auto n = static_cast<double>(samples.size());
  for (double x : samples) result.mean += x / n;
  result.low = result.high = result.mean;
  if (samples.size() < 2) return result;
  double squares = 0;
  for (double x : samples) squares += (x - result.mean) * (x - result.mean);
  result.standard_deviation = std::sqrt(squares / (n - 1));
  const double half = student_t_975(static_cast<int64_t>(samples.size()) - 1) *
                      result.standard_deviation / std::sqrt(n);
  result.low -= half;
  result.high += half;
  return result;
}

Interval bootstrap_ratio_of_medians(std::span<const double> numerator,
                                    std::span<const double> denominator, int resamples) {
  const size_t n = std::min(numerator.size(), denominator.size());
  if (n == 0) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return {nan, nan};
  }
  Rng rng(0, RngPurpose::kTiming, n);
  std::vector<double> ratios;
  std::vector<double> a(n);
  std::vector<double> b(n);
  for (int r = 0; r < resamples; ++r) {
    for (size_t i = 0; i < n; ++i) {
      const auto j = static_cast<size_t>(rng.below(n));
      a[i] = numerator[j];
      b[i] = denominator[j];
    }
    ratios.push_back(quantile(a, 0.5) / quantile(b, 0.5));
  }
  std::sort(ratios.begin(), ratios.end());
  return {sorted_quantile(ratios, 0.025), sorted_quantile(ratios, 0.975)};
}

}  // namespace pare
