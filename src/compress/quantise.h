// From a distribution to a scale and zero point, and from float weights to int8.
//
// Activations: uint8, asymmetric, one scale a tensor.  x ≈ (q - zero_point) * scale
//   A range [low, high] always includes zero, so that zero (padding, ReLU) is exact:
//   scale = (high - low) / 255,  zero_point = rint(-low / scale)
// Weights: int8, symmetric, one scale a channel: scale = max|w| / 127. Zero stays zero, so pruning
//   masks survive.
//
// How the range of an activation is chosen from its histogram:
//   minmax      all values
//   percentile  the share p of the values lies below `high`, the same share above `low`
//   mse         least mean squared error of quantised against original values, searched by
//               shrinking the full range, then each end by itself
//   entropy     least Kullback-Leibler divergence of the quantised from the original distribution
//               (Migacz, "8-bit inference with TensorRT", GTC 2017), zeros left out
#ifndef PARE_COMPRESS_QUANTISE_H_
#define PARE_COMPRESS_QUANTISE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/tensor.h"
#include "compress/histogram.h"

namespace pare {

struct Range {
  double low = 0;
  double high = 0;
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

struct QuantisedWeights {
  Tensor values;              // int8, the weight's shape
  std::vector<float> scales;  // one a channel
};

// `smallest_scales`: a lower bound for each channel's scale (so that its bias fits 32 bits), or
// empty. A channel of zeros gets its lower bound, or 1.
QuantisedWeights quantise_weights(const Tensor& weight, int channel_axis,
                                  const std::vector<float>& smallest_scales = {});
// Signal to noise of what `quantised` stands for against `weight`; 200 where nothing was lost (a
// weight of zeros, or one that integers hold exactly).
double rounding_snr_db(const Tensor& weight, const QuantisedWeights& quantised, int channel_axis);

}  // namespace pare

#endif  // PARE_COMPRESS_QUANTISE_H_
