// From float weights to integers: 8 or 4 bits, symmetric, so that zero stays zero and pruning masks
// survive.
//
//   per channel   w ≈ q · scale[channel]                             q in -127 … 127, or -8 … 7
//   per group     w ≈ q · (factor[channel, group] · scale[channel])  4 bits only
//
// A group is a stretch of inputs of one output channel. Its scale is a whole multiple (1 … 15) of
// its channel's, so that q · factor is an integer of 8 bits and a layer with groups is multiplied
// by the kernels of int8, exactly (two-level scaling: Dai et al. 2021, "VS-Quant: Per-Vector Scaled
// Quantization for Accurate Low-Precision Neural Network Inference", section 4).
//
// Scales are chosen from the range of the weights, or by least squared error; how the weights are
// then rounded is the caller's: to nearest, or by a method that looks at what the layer reads.
#ifndef PARE_COMPRESS_QUANTISE_WEIGHTS_H_
#define PARE_COMPRESS_QUANTISE_WEIGHTS_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "pare/status.h"

#include "base/tensor.h"
#include "compress/layers.h"

namespace pare {

enum class WeightRange {
  kMinMax,  // the largest weight is the largest integer
  kMse,     // least squared error of the rounded weights, over shrunken scales
};

struct WeightFormat {
  int bits = 8;       // 8 or 4
  int64_t group = 0;  // inputs that share a scale; 0: all of a channel's. 4 bits only.
  WeightRange range = WeightRange::kMinMax;
};

// The integers of a weight: -127 … 127 of 8 bits (-128 would make the range lopsided), -8 … 7 of 4,
// where one level more is worth a twelfth of the error's size.
int32_t lowest_weight(int bits);
int32_t highest_weight(int bits);

// Largest factor of a group: 8 · 15 fits 8 bits.
inline constexpr int kLargestFactor = 15;

// What is rounded: the weights of a layer as rows, one an output channel, each with the inputs that
// this channel reads (of a convolution: those of its group, times the window), in the tensor's
// order.
struct RoundingTask {
  const WeightLayer* layer = nullptr;
  int64_t outputs = 0;
  int64_t inputs = 0;
  std::span<const float> weights;  // outputs × inputs
  int64_t group = 0;               // inputs that share a scale, at most all; the last may be fewer
  std::span<const float> scales;   // outputs × ceil(inputs / group)
  int32_t lowest = 0;
  int32_t highest = 0;

  int64_t groups() const { return (inputs + group - 1) / group; }
};

// Gives the integers, outputs × inputs, each in lowest … highest; a weight of zero must stay zero.
using RoundWeights = std::function<Result<std::vector<int8_t>>(const RoundingTask& task)>;

// Each weight by itself, by the rule of base/rounding.h.
Result<std::vector<int8_t>> round_to_nearest(const RoundingTask& task);

struct QuantisedWeights {
  Tensor values;                 // int8, the weight's shape, whatever the bits
  std::vector<float> scales;     // one a channel
  int64_t group = 0;             // 0: no groups
  std::vector<uint8_t> factors;  // channels × groups
};

// `smallest_scales`: a lower bound for each channel's scale (so that its bias fits 32 bits), or
// empty. A channel of zeros gets its lower bound, or 1. `weight`: the layer's, or what was made of
// it. Errors: kInvalidArgument for a format that does not exist, whatever `round` refuses.
Result<QuantisedWeights> quantise_weights(const Tensor& weight, const WeightLayer& layer,
                                          const WeightFormat& format,
                                          const std::vector<float>& smallest_scales,
                                          const RoundWeights& round);

// 8 bits a channel, the whole range, to nearest.
QuantisedWeights quantise_weights(const Tensor& weight, int channel_axis,
                                  const std::vector<float>& smallest_scales = {});

// The scale with the least squared error of `weights` rounded to nearest, found among shares of the
// scale of their whole range; 0 for zeros.
float least_error_scale(std::span<const float> weights, int bits);

// The floats that the integers stand for.
Tensor dequantised(const QuantisedWeights& quantised, int channel_axis);
// Signal to noise of what `quantised` stands for against `weight`; 200 where nothing was lost (a
// weight of zeros, or one that integers hold exactly).
double rounding_snr_db(const Tensor& weight, const QuantisedWeights& quantised, int channel_axis);

}  // namespace pare

#endif  // PARE_COMPRESS_QUANTISE_WEIGHTS_H_
