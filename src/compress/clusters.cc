#include "compress/clusters.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>

namespace pare {
namespace {

// Each step moves some boundary by a value at least, so it ends; this stops long tails of steps
// that move single values of millions.
constexpr int kMaxSteps = 300;
// The first partition is the best one of so many bins: a millisecond for 16 clusters.
constexpr int kBins = 4096;

// The values in order, with running sums, so that a step takes time by clusters, not by values.
struct Line {
  std::vector<float> values;
  std::vector<double> importance;  // of the values before each place
  std::vector<double> moment;      // importance · value, likewise
};

Line sorted_line(std::span<const float> values, std::span<const double> importance) {
  std::vector<uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, [&](uint32_t a, uint32_t b) {
    return values[a] != values[b] ? values[a] < values[b] : a < b;
  });
  Line line;
  line.values.reserve(order.size());
  line.importance.reserve(order.size() + 1);
  line.moment.reserve(order.size() + 1);
  line.importance.push_back(0);
  line.moment.push_back(0);
  for (const uint32_t i : order) {
    const double weight = importance.empty() ? 1.0 : importance[i];
    line.values.push_back(values[i]);
    line.importance.push_back(line.importance.back() + weight);
    line.moment.push_back(line.moment.back() + weight * static_cast<double>(values[i]));
  }
  return line;
}

// Places where the clusters of these centres begin, and the end.
std::vector<size_t> boundaries(const Line& line, const std::vector<double>& centres) {
  std::vector<size_t> begin = {0};
  begin.reserve(centres.size() + 1);
  for (size_t c = 1; c < centres.size(); ++c) {
    const double middle = std::midpoint(centres[c - 1], centres[c]);
    const auto at = std::ranges::upper_bound(line.values, middle, {},
                                             [](float v) { return static_cast<double>(v); });
    begin.push_back(static_cast<size_t>(at - line.values.begin()));
  }
  begin.push_back(line.values.size());
  return begin;
}

// The means of clusters that have any importance; the others are gone.
std::vector<double> means(const Line& line, const std::vector<size_t>& begin) {
  std::vector<double> centres;
  centres.reserve(begin.size());
  for (size_t c = 0; c + 1 < begin.size(); ++c) {
    const double weight = line.importance[begin[c + 1]] - line.importance[begin[c]];
    if (weight > 0) centres.push_back((line.moment[begin[c + 1]] - line.moment[begin[c]]) / weight);
  }
  return centres;
}

// The values in bins of equal width, empty ones left out; sums over the bins before each.
struct Bins {
  std::vector<double> importance = {0};
  std::vector<double> moment = {0};
  std::vector<double> square = {0};

  size_t count() const { return importance.size() - 1; }
  double weight(size_t from, size_t to) const { return importance[to] - importance[from]; }
  double mean(size_t from, size_t to) const {
    return (moment[to] - moment[from]) / weight(from, to);
  }
  // Of bins [from, to) as one cluster.
  double error(size_t from, size_t to) const {
    const double first = moment[to] - moment[from];
    return square[to] - square[from] - first * first / weight(from, to);
  }
};

Bins make_bins(const Line& line) {
  const auto low = static_cast<double>(line.values.front());
  const double width = (static_cast<double>(line.values.back()) - low) / kBins;
  Bins bins;
  double square = 0;
  size_t at = 0;
  for (int bin = 0; bin < kBins; ++bin) {
    const bool last = bin + 1 == kBins || width <= 0;
    const double end = low + width * (bin + 1);
    for (; at < line.values.size() && (last || static_cast<double>(line.values[at]) <= end); ++at) {
      const auto v = static_cast<double>(line.values[at]);
      square += (line.importance[at + 1] - line.importance[at]) * v * v;
    }
    if (line.importance[at] <= bins.importance.back()) continue;
    bins.importance.push_back(line.importance[at]);
    bins.moment.push_back(line.moment[at]);
    bins.square.push_back(square);
  }
  return bins;
}

// The best partition of the first `to` bins into c + 1 clusters, for all `to`, from those into c:
// fills errors[to] and where the last cluster begins. That place never falls as `to` rises, so the
// middle one halves the search for the others.
void add_cluster(const Bins& bins, const std::vector<double>& fewer, size_t low_to, size_t high_to,
                 size_t low_from, size_t high_from, std::vector<double>& errors,
                 std::vector<uint16_t>& begins) {
  if (low_to > high_to) return;
  const size_t to = low_to + (high_to - low_to) / 2;
  size_t best = low_from;
  double least = std::numeric_limits<double>::infinity();
  for (size_t from = low_from; from <= std::min(high_from, to - 1); ++from) {
    const double error = fewer[from] + bins.error(from, to);
    if (error >= least) continue;
    least = error;
    best = from;
  }
  errors[to] = least;
  begins[to] = static_cast<uint16_t>(best);
  if (to > low_to) add_cluster(bins, fewer, low_to, to - 1, low_from, best, errors, begins);
  add_cluster(bins, fewer, to + 1, high_to, best, high_from, errors, begins);
}

// Means of the clusters that bins fall into with the least error.
std::vector<double> best_centres(const Bins& bins, size_t count) {
  const size_t n = bins.count();
  count = std::min(count, n);
  std::vector<std::vector<uint16_t>> begins(count, std::vector<uint16_t>(n + 1, 0));
  std::vector<double> errors(n + 1, 0.0);
  for (size_t to = 1; to <= n; ++to) errors[to] = bins.error(0, to);
  for (size_t c = 1; c < count; ++c) {
    std::vector<double> more(n + 1, std::numeric_limits<double>::infinity());
    add_cluster(bins, errors, c + 1, n, c, n - 1, more, begins[c]);
    errors = std::move(more);
  }
  std::vector<double> centres(count);
  size_t to = n;
  for (size_t c = count; c-- > 0;) {
    const size_t from = begins[c][to];
    centres[c] = bins.mean(from, to);
    to = from;
  }
  return centres;
}

}  // namespace

Clusters find_clusters(std::span<const float> values, std::span<const double> importance,
                       int count) {
  Clusters result;
  if (values.empty()) return result;
  const bool any =
      importance.empty() || std::ranges::any_of(importance, [](double w) { return w > 0; });
  const Line line = sorted_line(values, any ? importance : std::span<const double>());
  std::vector<double> centres = best_centres(make_bins(line), static_cast<size_t>(count));
  std::vector<size_t> begin;
  for (int step = 0; step < kMaxSteps; ++step) {
    std::vector<size_t> next = boundaries(line, centres);
    if (next == begin) break;
    begin = std::move(next);
    centres = means(line, begin);
  }
  for (const double centre : centres) {
    const auto rounded = static_cast<float>(centre);
    if (result.centres.empty() || result.centres.back() < rounded)
      result.centres.push_back(rounded);
  }
  // By the rounded centres, the ones that the values become.
  result.of.reserve(values.size());
  for (const float value : values) {
    const auto above = std::ranges::lower_bound(result.centres, value);
    auto nearest = above;
    if (above == result.centres.end()) {
      nearest = above - 1;
    } else if (above != result.centres.begin()) {
      const double middle =
          std::midpoint(static_cast<double>(*(above - 1)), static_cast<double>(*above));
      nearest = static_cast<double>(value) <= middle ? above - 1 : above;
    }
    result.of.push_back(static_cast<uint8_t>(nearest - result.centres.begin()));
  }
  return result;
}

}  // namespace pare
