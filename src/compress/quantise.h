// From the distribution of an activation to a scale and zero point. (Weights:
// compress/quantise_weights.h.)
//
// Activations: uint8, asymmetric, one scale a tensor.  x ≈ (q - zero_point) * scale
//   A range [low, high] always includes zero, so that zero (padding, ReLU) is exact:
//   scale = (high - low) / 255,  zero_point = rint(-low / scale)
//
// How the range of an activation is chosen from its histogram:
//   minmax      all values
//   percentile  the share p of the values lies below `high`, the same share above `low`
//   mse         least mean squared error of quantised against original values, searched by
//               shrinking the full range, then each end by itself
//   entropy     least Kullback-Leibler divergence of the quantised from the original distribution
//               (Migacz, "8-bit inference with TensorRT", GTC 2017), zeros left out
// or, without a histogram, as a moving average of the ranges of batches (MovingRange).
#ifndef PARE_COMPRESS_QUANTISE_H_
#define PARE_COMPRESS_QUANTISE_H_

#include <cstdint>
#include <span>
#include <string>

#include "compress/histogram.h"

namespace pare {

struct Range {
  double low = 0;
  double high = 0;
};

// Exponential moving average of the ranges of batches: r += 0.1 (batch's range - r), beginning with
// the first batch's (Jacob et al. 2018, section 3.1). A rare outlier counts by the tenth part.
class MovingRange {
 public:
  void add(std::span<const float> batch);
  const Range& range() const { return range_; }  // [0, 0] before the first batch

 private:
  Range range_;
  bool begun_ = false;
};

enum class RangeRule { kMinMax, kPercentile, kMse, kEntropy };
// "minmax", "percentile", "mse", "entropy".
RangeRule range_rule_from_word(const std::string& word);

// `percent`: 50 … 100, for kPercentile. An empty histogram gives [0, 0].
Range choose_range(const Histogram& histogram, RangeRule rule, double percent);

struct ActivationScale {
  float scale = 1;
  int32_t zero_point = 0;  // 0 … 255
};

// [0, 0], a tensor that is always zero, gets scale 1.
ActivationScale activation_scale(const Range& range);

// Mean squared error of the histogram's values under the scale, zeros included.
double quantisation_mse(const Histogram& histogram, const ActivationScale& scale);
// Divergence of the histogram's non-zero values, quantised over `range`, from themselves.
double quantisation_divergence(const Histogram& histogram, const Range& range);
// 10 log10(signal / noise) of sums of squares, within ±200; 200 where there is no noise.
double signal_to_noise_db(double signal, double noise);

}  // namespace pare

#endif  // PARE_COMPRESS_QUANTISE_H_
