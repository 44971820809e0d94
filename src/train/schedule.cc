#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pare {
namespace {

// From `from` at u = 0 to `to` at u = 1 along half a cosine.
double cosine_between(double from, double to, double u) {
  return to + (from - to) * 0.5 * (1.0 + std::cos(std::numbers::pi * u));
}

}  // namespace

double schedule_factor(const TrainRecipe::Schedule& schedule, const ScheduleLength& length,
                       int64_t step) {
  const double t = static_cast<double>(step);
  const double total = static_cast<double>(length.total_steps);
  const double per_epoch = static_cast<double>(length.steps_per_epoch);
  // A recipe made for many epochs, run for a few, must not end while it still warms up.
  const double warmup =
      std::min(std::floor(total / 2), std::round(schedule.warmup_epochs * per_epoch));
  if (t < warmup) return (t + 1.0) / warmup;
  if (schedule.kind == "cosine") {
    const double u = (t - warmup) / std::max(1.0, total - warmup);
    return cosine_between(1.0, schedule.final_share, u);
  }
  if (schedule.kind == "linear") {
    const double u = (t - warmup) / std::max(1.0, total - warmup);
    return 1.0 + (schedule.final_share - 1.0) * u;
  }
  if (schedule.kind == "one-cycle") {
    const double top = schedule.peak * total;
    if (t < top) return cosine_between(schedule.start_share, 1.0, t / top);
    return cosine_between(1.0, schedule.final_share, (t - top) / std::max(1.0, total - top));
  }
  if (schedule.kind == "step") {
    const double epoch = t / per_epoch;
    const auto passed = std::count_if(schedule.steps.begin(), schedule.steps.end(),
                                      [epoch](double s) { return epoch >= s; });
    return std::pow(schedule.step_factor, static_cast<double>(passed));
  }
  return 1.0;
}

}  // namespace pare
