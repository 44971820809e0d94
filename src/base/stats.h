// The statistics behind every figure Pare shows.
#ifndef PARE_BASE_STATS_H_
#define PARE_BASE_STATS_H_

#include <cstdint>
#include <span>

namespace pare {

struct Interval {
  double low = 0;
  double high = 0;
};

// Wilson's score interval for a share k/n (Wilson 1927), as fractions; 95 % by default.
// n = 0 gives [0, 1].
Interval wilson_interval(int64_t successes, int64_t trials, double z = 1.959963984540054);

// McNemar's exact two-sided test (McNemar 1947; binomial with p = 1/2) of two classifiers on the
// same images: `only_first` images only the first had right, `only_second` only the second. The
// p-value, 1 when they never differ.
double mcnemar_exact(int64_t only_first, int64_t only_second);

// Newcombe's interval for the difference of two paired shares (Newcombe 1998, method 10), as
// fractions: (share right of the second) - (share right of the first). Counts: both right, only the
// first, only the second, neither.
Interval paired_difference_interval(int64_t both, int64_t only_first, int64_t only_second,
                                    int64_t neither, double z = 1.959963984540054);

// The q-quantile (0 … 1) with linear interpolation between order statistics (Hyndman and Fan's type
// 7, NumPy's default). The samples need not be sorted; NaN for none.
double quantile(std::span<const double> samples, double q);

struct MeanInterval {
  double mean = 0;
  double low = 0;  // Student's t, 95 %; equal to the mean for fewer than two samples
  double high = 0;
  double standard_deviation = 0;  // of the samples, n - 1
};
MeanInterval mean_interval(std::span<const double> samples);

// 95 % bootstrap interval of median(numerator) / median(denominator), samples paired by index when
// the two ran alternately. Deterministic (fixed seed).
Interval bootstrap_ratio_of_medians(std::span<const double> numerator,
                                    std::span<const double> denominator, int resamples = 2000);

}  // namespace pare

#endif  // PARE_BASE_STATS_H_
