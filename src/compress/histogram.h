// Histogram: the distribution of an activation, gathered in one pass and bounded memory.
//
// Bins have a width of 2^e and lie around zero: bin k holds [k·2^e, (k+1)·2^e). When a value falls
// outside, e grows and neighbouring bins are merged pairwise, which loses nothing but resolution.
// Because widths are powers of two and zero is always an edge, the result depends only on the
// values, never on their order, their grouping into batches or the number of threads. Zeros are
// counted apart, so that a ReLU's many zeros do not look like small positive values. Between 4,096
// and 8,192 bins cover the larger side; 128 KiB a histogram whatever the number of values.
#ifndef PARE_COMPRESS_HISTOGRAM_H_
#define PARE_COMPRESS_HISTOGRAM_H_

#include <cstdint>
#include <span>
#include <vector>

namespace pare {

class Histogram {
 public:
  static constexpr int kSide = 8192;  // bins on each side of zero

  Histogram();

  // Counts finite values; returns the number of those that were not finite (and not counted).
  int64_t add(std::span<const float> values);
  // Adds another histogram's counts.
  void merge(const Histogram& other);

  int64_t count() const { return count_; }
  int64_t zeros() const { return zeros_; }
  float min() const { return min_; }  // exact; 0 when nothing was counted
  float max() const { return max_; }
  double bin_width() const;
  // Bin index -kSide … kSide-1.
  int64_t bin(int k) const { return bins_[static_cast<size_t>(int64_t{k} + kSide)]; }
  // The middle of bin k: the value its members are taken for.
  double center(int k) const { return (k + 0.5) * bin_width(); }
  // First and one past the last non-empty bin.
  int first() const;
  int last() const;

  // The value below which the share q (0 … 1) of all values lies, interpolated within its bin;
  // clamped to min() … max().
  double quantile(double q) const;

 private:
  void grow(int exponent);

  int exponent_;
  int64_t count_ = 0;
  int64_t zeros_ = 0;
  float min_ = 0;
  float max_ = 0;
  std::vector<int64_t> bins_;
};

}  // namespace pare

#endif  // PARE_COMPRESS_HISTOGRAM_H_
