#include "compress/quantise.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "base/rounding.h"

namespace pare {
namespace {

constexpr int kLevels = 256;
// Below this a scale would make x / scale overflow for ordinary x; such a tensor is zero for all
// practical purposes.
constexpr double kSmallestScale = 1e-30;
// What the quantised distribution gets where only clipped values fell: it keeps the divergence
// finite and still prices clipping into an otherwise empty bin.
constexpr double kEmptyBin = 1e-7;

Range with_zero(Range range) { return {std::min(range.low, 0.0), std::max(range.high, 0.0)}; }

Range full_range(const Histogram& histogram) {
  return with_zero({histogram.min(), histogram.max()});
}

// The candidate with the least cost among low·a, high·b for factors 1/steps … 1: first a = b, then
// b and a by themselves.
Range search_range(const Range& full, int steps, const std::function<double(const Range&)>& cost) {
  const auto factor = [steps](int i) { return static_cast<double>(i) / steps; };
  Range best = full;
  double least = cost(full);
  const auto consider = [&](const Range& candidate) {
    const double c = cost(candidate);
    if (c >= least) return;
    least = c;
    best = candidate;
  };
  for (int i = 1; i < steps; ++i) consider({full.low * factor(i), full.high * factor(i)});
  if (full.low == 0 || full.high == 0) return best;
  for (int i = 1; i <= steps; ++i) consider({best.low, full.high * factor(i)});
  for (int i = 1; i <= steps; ++i) consider({full.low * factor(i), best.high});
  return best;
}

}  // namespace

void MovingRange::add(std::span<const float> batch) {
  if (batch.empty()) return;
  constexpr double kShare = 0.1;
  const auto [low, high] = std::minmax_element(batch.begin(), batch.end());
  const double share = begun_ ? kShare : 1.0;
  range_.low += share * (*low - range_.low);
  range_.high += share * (*high - range_.high);
  begun_ = true;
}

RangeRule range_rule_from_word(const std::string& word) {
  if (word == "minmax") return RangeRule::kMinMax;
  if (word == "mse") return RangeRule::kMse;
  if (word == "entropy") return RangeRule::kEntropy;
  return RangeRule::kPercentile;
}

Range choose_range(const Histogram& histogram, RangeRule rule, double percent) {
  if (histogram.count() == 0) return {};
  const Range full = full_range(histogram);
  switch (rule) {
    case RangeRule::kMinMax:
      return full;
    case RangeRule::kPercentile: {
      const double share = percent / 100.0;
      return with_zero({histogram.quantile(1.0 - share), histogram.quantile(share)});
    }
    case RangeRule::kMse:
      return search_range(full, 100, [&](const Range& range) {
        return quantisation_mse(histogram, activation_scale(range));
      });
    case RangeRule::kEntropy: {
      // Below an eighth of the range the histogram has hardly more bins than there are levels.
      Range best = full;
      double least = quantisation_divergence(histogram, full);
      for (int i = 127; i >= 16; --i) {
        const Range range{full.low * i / 128.0, full.high * i / 128.0};
        const double divergence = quantisation_divergence(histogram, range);
        if (divergence >= least) continue;
        least = divergence;
        best = range;
      }
      return best;
    }
  }
  return full;
}

ActivationScale activation_scale(const Range& range) {
  const Range r = with_zero(range);
  if (r.high - r.low <= 0) return {};
  ActivationScale result;
  result.scale = static_cast<float>(std::max((r.high - r.low) / (kLevels - 1), kSmallestScale));
  result.zero_point = round_clamp(static_cast<float>(-r.low / result.scale), 0, 0, kLevels - 1);
  return result;
}

double quantisation_mse(const Histogram& histogram, const ActivationScale& scale) {
  if (histogram.count() == 0) return 0;
  double sum = 0;
  const int last = histogram.last();
  for (int k = histogram.first(); k < last; ++k) {
    const int64_t n = histogram.bin(k);
    if (n == 0) continue;
    const auto x = static_cast<float>(histogram.center(k));
    const int32_t q = quantise(x, scale.scale, scale.zero_point, 0, kLevels - 1);
    const double error = static_cast<double>(x) - dequantise(q, scale.scale, scale.zero_point);
    sum += static_cast<double>(n) * error * error;
  }
  return sum / static_cast<double>(histogram.count());
}

double quantisation_divergence(const Histogram& histogram, const Range& range) {
  const ActivationScale scale = activation_scale(range);
  const auto level = [&scale](double x) {
    return quantise(static_cast<float>(x), scale.scale, scale.zero_point, 0, kLevels - 1);
  };
  const int first = histogram.first();
  const int last = histogram.last();
  // Bins whose middle lies inside the range; at least one on each side that has values.
  const double width = histogram.bin_width();
  const int inside_first = std::max(first, static_cast<int>(std::floor(range.low / width)));
  const int inside_last = std::min(last, static_cast<int>(std::ceil(range.high / width)));
  if (inside_first >= inside_last) return 0;

  std::vector<double> mass(kLevels, 0);
  std::vector<int> used(kLevels, 0);
  double inside = 0;
  for (int k = inside_first; k < inside_last; ++k) {
    const int64_t n = histogram.bin(k);
    if (n == 0) continue;
    const auto l = static_cast<size_t>(level(histogram.center(k)));
    mass[l] += static_cast<double>(n);
    used[l] += 1;
    inside += static_cast<double>(n);
  }
  double clipped_low = 0;
  double clipped_high = 0;
  for (int k = first; k < inside_first; ++k) clipped_low += static_cast<double>(histogram.bin(k));
  for (int k = inside_last; k < last; ++k) clipped_high += static_cast<double>(histogram.bin(k));
  const double total = inside + clipped_low + clipped_high;
  if (total == 0 || inside == 0) return 0;

  double divergence = 0;
  for (int k = inside_first; k < inside_last; ++k) {
    const auto own = static_cast<double>(histogram.bin(k));
    double p = own;
    if (k == inside_first) p += clipped_low;
    if (k == inside_last - 1) p += clipped_high;
    if (p == 0) continue;
    const auto l = static_cast<size_t>(level(histogram.center(k)));
    const double q = own > 0 ? mass[l] / used[l] / inside : kEmptyBin;
    divergence += p / total * std::log(p / total / q);
  }
  return divergence;
}

double signal_to_noise_db(double signal, double noise) {
  constexpr double kLimit = 200;
  if (noise <= 0) return kLimit;
  return std::clamp(10 * std::log10(signal / noise), -kLimit, kLimit);
}

}  // namespace pare
