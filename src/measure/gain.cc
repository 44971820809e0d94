#include "measure/gain.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "measure/ceilings.h"

namespace pare {
namespace {

// A step of one model.
struct Place {
  // Its node's name, its first operation, and how many such came before: a copy that a layer needs
  // bears the layer's name, too.
  std::string key;
  const LayerPlan* layer = nullptr;
  const LayerLimit* limit = nullptr;
  double time_us = 0;

  // Of its limit; at most 1, since a ceiling is measured, too.
  double share() const { return time_us > 0 ? std::min(1.0, limit->limit_us() / time_us) : 1; }
};

std::vector<Place> places_of(const TimedPlan& plan) {
  std::vector<Place> places(plan.layers.size());
  std::map<std::string, int> seen;
  for (size_t i = 0; i < places.size(); ++i) {
    const LayerPlan& layer = plan.layers[i];
    const std::string key = layer.name + "|" + layer.operation.substr(0, layer.operation.find(' '));
    places[i] = {fmt::format("{}|{}", key, seen[key]++), &layer, &plan.limits[i], plan.times_us[i]};
  }
  return places;
}

double ratio(double a, double b) { return b > 0 ? a / b : 1; }

// Almost the same: nothing was taken away.
bool alike(double a, double b) { return std::abs(a - b) <= 0.02 * std::max(a, b); }

const std::string& arithmetic_of(const LayerPlan& layer) {
  static const std::string kUsual = "float32";
  return layer.arithmetic.empty() ? kUsual : layer.arithmetic;
}

std::string kilobytes(double bytes) { return fmt::format("{:.1f} kB", bytes / 1e3); }
std::string short_us(double us) {
  return us < 0.1 ? "less than 0.1 µs" : fmt::format("{:.{}f} µs", us, us < 10 ? 1 : 0);
}

// Weights with zeros that the kernel multiplies all the same.
std::string why_zeros_count(const LayerPlan& layer) {
  constexpr double kFewZeros = 0.9;
  if (layer.skips_zero_weights || layer.weight_bytes == 0 || layer.weight_density > kFewZeros) {
    return "";
  }
  const std::string sparse = fmt::format("{:.0f} % sparse", 100 * (1 - layer.weight_density));
  const std::string refusal = sparse_refusal(layer);
  if (!refusal.empty())
    return fmt::format("{}, but the kernel for zeros is not taken: {}", sparse, refusal);
  return fmt::format("{}, and no kernel here leaves out the zeros of such a layer", sparse);
}

// Why the limits themselves promise nothing.
std::string why_no_promise(const Place& before, const Place& after,
                           const CeilingsRecord& ceilings) {
  const LayerLimit& a = *before.limit;
  const LayerLimit& b = *after.limit;
  if (alike(a.moved_bytes(), b.moved_bytes()) && alike(a.macs, b.macs) &&
      arithmetic_of(*before.layer) == arithmetic_of(*after.layer)) {
    return "as many bytes and operations as in the original";
  }
  const std::string bound = b.bound();
  if (bound == "memory" && b.activation_bytes > b.weight_bytes) {
    return fmt::format("bound by {} of activations, which weights have no part in",
                       kilobytes(b.activation_bytes));
  }
  if (bound == "compute" && arithmetic_of(*before.layer) != arithmetic_of(*after.layer)) {
    return fmt::format("bound by operations, and {} multiplies {:.1f} times as fast as {} here",
                       arithmetic_of(*after.layer),
                       macs_per_us(ceilings, arithmetic_of(*after.layer)) /
                           macs_per_us(ceilings, arithmetic_of(*before.layer)),
                       arithmetic_of(*before.layer));
  }
  return fmt::format(
      "bound by {}, which compression leaves at {:.0f} % of the original's",
      bound == "compute" ? "operations" : "bytes",
      100 * (bound == "compute" ? ratio(b.macs, a.macs) : ratio(b.moved_bytes(), a.moved_bytes())));
}

std::string why_no_gain(const Place& before, const Place& after, const CeilingsRecord& ceilings) {
  if (std::string zeros = why_zeros_count(*after.layer); !zeros.empty()) return zeros;
  if (std::string(after.limit->bound()) == "overhead") {
    return fmt::format(
        "bound by launch and barrier overhead, not by bytes or operations: {} of work",
        short_us(after.limit->work_us()));
  }
  const double promised = ratio(before.limit->limit_us(), after.limit->limit_us());
  if (promised < kLeastGain) return why_no_promise(before, after, ceilings);
  return fmt::format(
      "bytes and operations would allow {:.1f} times, but {} reaches {:.0f} % of its limit where "
      "the "
      "original's {} reaches {:.0f} %",
      promised, after.layer->kernel, 100 * after.share(), before.layer->kernel,
      100 * before.share());
}

LayerGain gain_of(const Place* before, const Place* after, const CeilingsRecord& ceilings,
                  const std::map<std::string, std::string>& unfused) {
  LayerGain gain;
  const Place& shown = after != nullptr ? *after : *before;
  gain.name = shown.layer->name;
  gain.operation = shown.layer->operation;
  if (before != nullptr) gain.before_us = before->time_us;
  if (after != nullptr) gain.after_us = after->time_us;
  const auto why = unfused.find(gain.name);
  const bool may_fuse = shown.layer->macs > 0 || shown.layer->operation == "QuantizeLinear";
  const bool known_unfused = after != nullptr && may_fuse && why != unfused.end();
  if (before == nullptr) {
    gain.reason = known_unfused ? "Q/DQ left unfused because " + why->second
                                : "a step that the original does not have";
    return gain;
  }
  if (after == nullptr) return gain;
  gain.predicted = ratio(before->limit->limit_us(), after->limit->limit_us());
  gain.measured = ratio(before->time_us, after->time_us);
  if (gain.measured >= kLeastGain) return gain;
  gain.reason = known_unfused ? "Q/DQ left unfused because " + why->second
                              : why_no_gain(*before, *after, ceilings);
  return gain;
}

const Place* find(const std::vector<Place>& places, const std::string& key) {
  const auto it = std::ranges::find(places, key, &Place::key);
  return it == places.end() ? nullptr : &*it;
}

}  // namespace

std::string sparse_refusal(const LayerPlan& layer) {
  for (size_t at = 0; at < layer.reason.size();) {
    const size_t end = std::min(layer.reason.find("; ", at), layer.reason.size());
    const std::string part = layer.reason.substr(at, end - at);
    at = end + 2;
    const size_t colon = part.find(": ");
    if (colon == std::string::npos || part.find("_sparse_") > colon) continue;
    std::string why = part.substr(colon + 2);
    if (!why.starts_with("needs ") && !why.starts_with("weights are not")) return why;
  }
  return "";
}

PlanGain compare_plans(const TimedPlan& original, const TimedPlan& compressed,
                       const CeilingsRecord& ceilings,
                       const std::map<std::string, std::string>& unfused) {
  const std::vector<Place> before = places_of(original);
  const std::vector<Place> after = places_of(compressed);
  const double overall = ratio(original.total_us(), [&] {
    double limit = 0;
    for (const Place& place : before) limit += place.limit->limit_us();
    return limit;
  }());
  PlanGain gain;
  double predicted_us = 0;
  for (const Place& place : after) {
    const Place* partner = find(before, place.key);
    gain.layers.push_back(gain_of(partner, &place, ceilings, unfused));
    const double limit = place.limit->limit_us();
    predicted_us += partner == nullptr
                        ? limit * overall
                        : partner->time_us * ratio(limit, partner->limit->limit_us());
  }
  for (const Place& place : before) {
    if (find(after, place.key) != nullptr) continue;
    gain.layers.push_back(gain_of(&place, nullptr, ceilings, unfused));
  }
  gain.predicted = ratio(original.total_us(), predicted_us);
  gain.measured = ratio(original.total_us(), compressed.total_us());
  return gain;
}

}  // namespace pare
