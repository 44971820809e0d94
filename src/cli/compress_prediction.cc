#include "cli/compress_prediction.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "base/thread_pool.h"
#include "measure/ceilings.h"
#include "measure/latency.h"
#include "measure/model_images.h"
#include "report/format.h"

namespace pare {
namespace {

constexpr double kSeconds = 0.2;     // each model
constexpr double kNoticeable = 0.1;  // a layer's share of the time

// Those that the recipe looks at; of one that looks at none, the built-in ones: zeros behind a ReLU
// count, and noise has others than pictures.
Result<std::shared_ptr<const Dataset>> images_for(const Graph& graph,
                                                  const CompressContext& context) {
  if (context.train != nullptr) return context.train;
  PARE_ASSIGN_OR_RETURN(DatasetOptions options, dataset_options_for(graph));
  options.test_only = true;
  PARE_ASSIGN_OR_RETURN(const DatasetPair pair, open_dataset(options));
  return pair.test;
}

}  // namespace

Result<Prediction> predict_gain(const Graph& graph, const Graph& tried, const Trial& trial,
                                const CompressContext& context) {
  const SessionOptions options = {.threads =
                                      context.threads > 0 ? context.threads : available_cores()};
  PARE_ASSIGN_OR_RETURN(Session first, Session::from_graph(graph, options));
  PARE_ASSIGN_OR_RETURN(Session second, Session::from_graph(tried, options));
  PARE_ASSIGN_OR_RETURN(const auto images, images_for(graph, context));
  PARE_ASSIGN_OR_RETURN(const CeilingsRecord ceilings, load_ceilings({.threads = options.threads}));
  PARE_ASSIGN_OR_RETURN(
      auto times, measure_steps({{&first, images.get()}, {&second, images.get()}}, 1, kSeconds));
  PARE_ASSIGN_OR_RETURN(const TimedPlan before, timed_plan(first, graph, options, *images, 1,
                                                           std::move(times[0]), &ceilings));
  PARE_ASSIGN_OR_RETURN(const TimedPlan after, timed_plan(second, tried, options, *images, 1,
                                                          std::move(times[1]), &ceilings));
  PARE_ASSIGN_OR_RETURN(const auto unfused, why_unfused(tried, after.layers));
  return Prediction{.before_us = before.total_us(),
                    .after_us = after.total_us(),
                    .threads = options.threads,
                    .than = trial.than,
                    .gain = compare_plans(before, after, ceilings, unfused)};
}

std::string Prediction::text() const {
  return fmt::format(
      "predicted: {:.2f} times as fast, {} instead of {} (batch 1 on {} thread{}, a trial timed "
      "here{}{})",
      times(), duration_text(after_us), duration_text(before_us), threads, threads == 1 ? "" : "s",
      than.empty() ? "" : ": ", than);
}

std::vector<std::string> Prediction::warnings() const {
  std::vector<std::string> lines;
  if (times() < kLeastGain) {
    lines.push_back(fmt::format("the result will be no faster here: {:.2f} times", times()));
  }
  for (const LayerGain& layer : gain.layers) {
    const double share = layer.after_us / after_us;
    if (layer.reason.empty() || share < kNoticeable) continue;
    lines.push_back(fmt::format("{} ({}, {:.0f} % of the time then) will be no faster: {}",
                                layer.name, layer.operation, 100 * share, layer.reason));
  }
  return lines;
}

nlohmann::ordered_json Prediction::json() const {
  nlohmann::ordered_json json = {{"gain", times()},      {"before_us", before_us},
                                 {"after_us", after_us}, {"batch", 1},
                                 {"threads", threads},   {"otherwise", than}};
  json["warnings"] = warnings();
  return json;
}

}  // namespace pare
