#include "compress/prune.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace pare {
namespace {

// The k-th smallest (k from 1) of the magnitudes; 0 for k = 0.
float kth_magnitude(std::vector<float> magnitudes, int64_t k) {
  if (k <= 0) return 0.0F;
  auto at = magnitudes.begin() + (k - 1);
  std::nth_element(magnitudes.begin(), at, magnitudes.end());
  return *at;
}

void append_magnitudes(const Tensor& weight, std::vector<float>& magnitudes) {
  for (const float w : weight.values<float>()) magnitudes.push_back(std::fabs(w));
}

struct Segment {
  size_t layer = 0;
  double slope = 0;  // damage for one more weight
  int64_t weights = 0;
};

// Segments of the curve's lower convex hull, slopes ascending.
void append_hull(const DamageCurve& curve, size_t layer, std::vector<Segment>& segments) {
  std::vector<std::pair<double, double>> hull;
  double monotone = 0;
  for (size_t i = 0; i < curve.share.size(); ++i) {
    monotone = std::max(monotone, curve.damage[i]);
    const std::pair<double, double> point(curve.share[i], monotone);
    while (hull.size() >= 2) {
      const auto& a = hull[hull.size() - 2];
      const auto& b = hull.back();
      const double to_last = (b.second - a.second) * (point.first - a.first);
      const double to_point = (point.second - a.second) * (b.first - a.first);
      if (to_last < to_point) break;
      hull.pop_back();
    }
    hull.push_back(point);
  }
  const auto n = static_cast<double>(curve.weights);
  for (size_t i = 1; i < hull.size(); ++i) {
    const int64_t from = std::llround(hull[i - 1].first * n);
    const int64_t to = std::llround(hull[i].first * n);
    if (to <= from) continue;
    const double rise = hull[i].second - hull[i - 1].second;
    segments.push_back({layer, rise / static_cast<double>(to - from), to - from});
  }
}

}  // namespace

Tensor magnitude_mask(const Tensor& weight, int64_t count) {
  std::vector<float> magnitudes;
  magnitudes.reserve(static_cast<size_t>(weight.size()));
  append_magnitudes(weight, magnitudes);
  Tensor mask(DType::kUInt8, weight.shape());
  auto keep = mask.mutable_values<uint8_t>();
  std::fill(keep.begin(), keep.end(), uint8_t{1});
  if (count <= 0) return mask;
  const float threshold = kth_magnitude(magnitudes, std::min(count, weight.size()));
  int64_t below = 0;
  for (const float m : magnitudes) below += m < threshold ? 1 : 0;
  int64_t ties = count - below;  // of those equal to the threshold, the first go
  for (size_t i = 0; i < keep.size(); ++i) {
    if (magnitudes[i] < threshold) {
      keep[i] = 0;
    } else if (magnitudes[i] == threshold && ties > 0) {
      keep[i] = 0;
      --ties;
    }
  }
  return mask;
}

Tensor apply_mask(const Tensor& weight, const Tensor& mask) {
  Tensor result = weight;
  auto values = result.mutable_values<float>();
  const auto keep = mask.values<uint8_t>();
  for (size_t i = 0; i < values.size(); ++i)
    if (keep[i] == 0) values[i] = 0.0F;
  return result;
}

Result<std::vector<int64_t>> allocate_budget(const std::vector<DamageCurve>& curves,
                                             int64_t total) {
  std::vector<Segment> segments;
  for (size_t i = 0; i < curves.size(); ++i) append_hull(curves[i], i, segments);
  // Stable: of equal slopes the earlier layer goes first, and a layer's own segments stay in order.
  std::stable_sort(segments.begin(), segments.end(),
                   [](const Segment& a, const Segment& b) { return a.slope < b.slope; });
  std::vector<int64_t> removed(curves.size(), 0);
  int64_t left = total;
  for (const Segment& segment : segments) {
    const int64_t taken = std::min(left, segment.weights);
    removed[segment.layer] += taken;
    left -= taken;
  }
  if (left > 0)
    return invalid_argument(fmt::format(
        "{} weights shall be removed but the layers may lose only {}", total, total - left));
  return removed;
}

std::vector<int64_t> allocate_globally(const std::vector<const Tensor*>& weights, int64_t total) {
  std::vector<float> all;
  all.reserve(static_cast<size_t>(
      std::accumulate(weights.begin(), weights.end(), int64_t{0},
                      [](int64_t sum, const Tensor* weight) { return sum + weight->size(); })));
  for (const Tensor* weight : weights) append_magnitudes(*weight, all);
  std::vector<int64_t> counts(weights.size(), 0);
  if (total <= 0) return counts;
  const float threshold = kth_magnitude(std::move(all), total);
  int64_t left = total;
  for (size_t i = 0; i < weights.size(); ++i) {
    for (const float w : weights[i]->values<float>()) counts[i] += std::fabs(w) < threshold ? 1 : 0;
    left -= counts[i];
  }
  for (size_t i = 0; i < weights.size() && left > 0; ++i) {
    int64_t ties = 0;
    for (const float w : weights[i]->values<float>()) ties += std::fabs(w) == threshold ? 1 : 0;
    ties = std::min(ties, left);
    counts[i] += ties;
    left -= ties;
  }
  return counts;
}

}  // namespace pare
