#include "compress/quantise_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/rounding.h"
#include "compress/quantise.h"

namespace pare {
namespace {

// Below this a scale would make w / scale overflow for ordinary w; such a channel is zero for all
// practical purposes.
constexpr float kLeastScale = 1e-30F;

// The elements of output channel `o` of a weight, at offset first + i · step.
struct Layout {
  int64_t outputs = 0;
  int64_t inputs = 0;
  bool by_columns = false;  // [I, O]

  int64_t offset(int64_t output, int64_t input) const {
    return by_columns ? input * outputs + output : output * inputs + input;
  }
};

Layout layout_of(const Shape& shape, int channel_axis) {
  Layout layout;
  layout.outputs = shape[static_cast<size_t>(channel_axis)];
  layout.inputs = layout.outputs == 0 ? 0 : element_count(shape) / layout.outputs;
  layout.by_columns = channel_axis != 0;
  return layout;
}

std::vector<float> rows_of(const Tensor& weight, const Layout& layout) {
  const auto src = weight.values<float>();
  std::vector<float> rows(src.size());
  for (int64_t o = 0; o < layout.outputs; ++o)
    for (int64_t i = 0; i < layout.inputs; ++i)
      rows[static_cast<size_t>(o * layout.inputs + i)] =
          src[static_cast<size_t>(layout.offset(o, i))];
  return rows;
}

// The scale under which no weight is cut off.
float full_scale(std::span<const float> weights, int bits) {
  float low = 0;
  float high = 0;
  for (const float w : weights) {
    low = std::min(low, w);
    high = std::max(high, w);
  }
  return std::max(high / static_cast<float>(highest_weight(bits)),
                  low / static_cast<float>(lowest_weight(bits)));
}

// Of the weights rounded to nearest under a scale. Adding and taking away 1.5 · 2^23 rounds a float
// below 2^22 to the nearest whole number, ties to even, without a call.
double squared_error(std::span<const float> weights, float scale, int bits) {
  constexpr float kRound = 12582912.0F;
  const auto low = static_cast<float>(lowest_weight(bits));
  const auto high = static_cast<float>(highest_weight(bits));
  const float inverse = 1.0F / scale;
  double sum = 0;
  for (const float w : weights) {
    const float q = std::min(std::max(w * inverse, low), high) + kRound - kRound;
    const float e = w - q * scale;
    sum += static_cast<double>(e * e);
  }
  return sum;
}

float channel_scale(std::span<const float> weights, const WeightFormat& format) {
  return format.range == WeightRange::kMse ? least_error_scale(weights, format.bits)
                                           : full_scale(weights, format.bits);
}

float at_least(float scale, float lowest) {
  scale = std::max(scale, lowest);
  return scale < kLeastScale ? 1.0F : scale;
}

// The whole multiple of a channel's scale that a group gets.
uint8_t group_factor(std::span<const float> weights, float scale, const WeightFormat& format) {
  if (format.range == WeightRange::kMinMax) {
    // A hair less than the quotient: that of the largest group is kLargestFactor but for rounding.
    const float wanted = full_scale(weights, format.bits) / scale * (1 - 1e-6F);
    return static_cast<uint8_t>(
        std::clamp(std::ceil(wanted), 1.0F, static_cast<float>(kLargestFactor)));
  }
  int best = 1;
  double least = HUGE_VAL;
  for (int factor = 1; factor <= kLargestFactor; ++factor) {
    const double error = squared_error(weights, scale * static_cast<float>(factor), format.bits);
    if (error >= least) continue;
    least = error;
    best = factor;
  }
  return static_cast<uint8_t>(best);
}

// Fills the scales of one row, and its factors where there are groups.
void choose_scales(std::span<const float> row, const WeightFormat& format, float lowest,
                   QuantisedWeights& result) {
  if (result.group == 0) {
    result.scales.push_back(at_least(channel_scale(row, format), lowest));
    return;
  }
  const auto group = static_cast<size_t>(result.group);
  float largest = 0;
  for (size_t i = 0; i < row.size(); i += group)
    largest =
        std::max(largest, channel_scale(row.subspan(i, std::min(group, row.size() - i)), format));
  const float scale = at_least(largest / static_cast<float>(kLargestFactor), lowest);
  std::vector<uint8_t> factors;
  uint8_t divisor = 0;
  for (size_t i = 0; i < row.size(); i += group) {
    factors.push_back(group_factor(row.subspan(i, std::min(group, row.size() - i)), scale, format));
    divisor = std::gcd(divisor, factors.back());
  }
  // Without a common divisor the channel's scale can be told from those of its groups
  // (runtime/four_bit_weights.h).
  result.scales.push_back(scale * static_cast<float>(divisor));
  for (const uint8_t factor : factors)
    result.factors.push_back(static_cast<uint8_t>(factor / divisor));
}

// One for each stretch that shares one, rows one after the other.
std::vector<float> all_scales(const QuantisedWeights& quantised) {
  if (quantised.group == 0) return quantised.scales;
  const size_t groups = quantised.factors.size() / quantised.scales.size();
  std::vector<float> scales;
  for (size_t i = 0; i < quantised.factors.size(); ++i)
    scales.push_back(quantised.scales[i / groups] * static_cast<float>(quantised.factors[i]));
  return scales;
}

Status check_format(const WeightFormat& format) {
  if (format.bits != 8 && format.bits != 4)
    return invalid_argument(fmt::format("weights of {} bits: expected 8 or 4", format.bits));
  if (format.group < 0 || (format.group > 0 && format.bits != 4))
    return invalid_argument(
        fmt::format("groups of {} inputs with weights of {} bits: groups are for 4 bits",
                    format.group, format.bits));
  return ok_status();
}

}  // namespace

int32_t lowest_weight(int bits) { return bits == 8 ? -127 : -(1 << (bits - 1)); }
int32_t highest_weight(int bits) { return (1 << (bits - 1)) - 1; }

float least_error_scale(std::span<const float> weights, int bits) {
  const float full = full_scale(weights, bits);
  if (full < kLeastScale) return full;
  float best = full;
  double least = squared_error(weights, full, bits);
  const auto consider = [&](float share) {
    const double error = squared_error(weights, full * share, bits);
    if (error >= least) return;
    least = error;
    best = full * share;
  };
  // In steps of a twentieth, then of a hundredth around the best: between them the error is smooth.
  constexpr int kCoarse = 20;
  for (int i = 2; i < kCoarse; ++i) consider(static_cast<float>(i) / kCoarse);
  const float middle = best / full;
  for (int i = -4; i <= 4; ++i) consider(middle + static_cast<float>(i) / 100);
  return best;
}

Result<std::vector<int8_t>> round_to_nearest(const RoundingTask& task) {
  std::vector<int8_t> integers(task.weights.size());
  const int64_t groups = task.groups();
  for (int64_t o = 0; o < task.outputs; ++o) {
    for (int64_t i = 0; i < task.inputs; ++i) {
      const auto at = static_cast<size_t>(o * task.inputs + i);
      const float scale = task.scales[static_cast<size_t>(o * groups + i / task.group)];
      integers[at] =
          static_cast<int8_t>(quantise(task.weights[at], scale, 0, task.lowest, task.highest));
    }
  }
  return integers;
}

Result<QuantisedWeights> quantise_weights(const Tensor& weight, const WeightLayer& layer,
                                          const WeightFormat& format,
                                          const std::vector<float>& smallest_scales,
                                          const RoundWeights& round) {
  PARE_RETURN_IF_ERROR(check_format(format));
  const Layout layout = layout_of(weight.shape(), layer.channel_axis);
  const std::vector<float> rows = rows_of(weight, layout);
  QuantisedWeights result;
  result.values = Tensor(DType::kInt8, weight.shape());
  result.group = format.group < layout.inputs ? format.group : 0;
  for (int64_t o = 0; o < layout.outputs; ++o) {
    const float lowest = smallest_scales.empty() ? 0.0F : smallest_scales[static_cast<size_t>(o)];
    choose_scales(std::span(rows).subspan(static_cast<size_t>(o * layout.inputs),
                                          static_cast<size_t>(layout.inputs)),
                  format, lowest, result);
  }
  const std::vector<float> scales = all_scales(result);
  RoundingTask task;
  task.layer = &layer;
  task.outputs = layout.outputs;
  task.inputs = layout.inputs;
  task.weights = rows;
  task.group = result.group == 0 ? std::max<int64_t>(layout.inputs, 1) : result.group;
  task.scales = scales;
  task.lowest = lowest_weight(format.bits);
  task.highest = highest_weight(format.bits);
  PARE_ASSIGN_OR_RETURN(const std::vector<int8_t> integers, round(task));
  if (integers.size() != rows.size())
    return internal_error(fmt::format("layer '{}': {} integers for {} weights", layer.name,
                                      integers.size(), rows.size()));
  auto dst = result.values.mutable_values<int8_t>();
  for (int64_t o = 0; o < layout.outputs; ++o)
    for (int64_t i = 0; i < layout.inputs; ++i)
      dst[static_cast<size_t>(layout.offset(o, i))] =
          integers[static_cast<size_t>(o * layout.inputs + i)];
  return result;
}

QuantisedWeights quantise_weights(const Tensor& weight, int channel_axis,
                                  const std::vector<float>& smallest_scales) {
  WeightLayer layer;
  layer.channel_axis = channel_axis;
  // Neither the format nor rounding to nearest can fail.
  return *quantise_weights(weight, layer, WeightFormat{}, smallest_scales, round_to_nearest);
}

Tensor dequantised(const QuantisedWeights& quantised, int channel_axis) {
  const Layout layout = layout_of(quantised.values.shape(), channel_axis);
  const std::vector<float> scales = all_scales(quantised);
  const int64_t group =
      quantised.group == 0 ? std::max<int64_t>(layout.inputs, 1) : quantised.group;
  const int64_t groups = (layout.inputs + group - 1) / group;
  const auto integers = quantised.values.values<int8_t>();
  Tensor weight(DType::kFloat32, quantised.values.shape());
  auto floats = weight.mutable_values<float>();
  for (int64_t o = 0; o < layout.outputs; ++o) {
    for (int64_t i = 0; i < layout.inputs; ++i) {
      const auto at = static_cast<size_t>(layout.offset(o, i));
      floats[at] =
          scales[static_cast<size_t>(o * groups + i / group)] * static_cast<float>(integers[at]);
    }
  }
  return weight;
}

double rounding_snr_db(const Tensor& weight, const QuantisedWeights& quantised, int channel_axis) {
  const Tensor rounded = dequantised(quantised, channel_axis);
  const auto original = weight.values<float>();
  const auto floats = rounded.values<float>();
  double signal = 0;
  double noise = 0;
  for (size_t i = 0; i < floats.size(); ++i) {
    const double w = original[i];
    const double e = w - floats[i];
    signal += w * w;
    noise += e * e;
  }
  return signal_to_noise_db(signal, noise);
}

}  // namespace pare
