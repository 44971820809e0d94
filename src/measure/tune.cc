#include "measure/tune.h"

#include <algorithm>
#include <numeric>

#include "measure/answer_check.h"
#include "measure/latency.h"

namespace pare {
namespace {

// Two measurements of one kernel differ by a few percent.
constexpr double kWorthIt = 0.97;
// Plans of other sizes share a layer's packed weights: a choice must leave them possible.
constexpr int64_t kOtherBatches[] = {1, 64};

bool has_choice(const LayerPlan& layer) { return layer.kernels.size() > 1; }

// The kernels of a layer, the planner's own choice first.
std::vector<std::string> in_order(const LayerPlan& layer) {
  std::vector<std::string> kernels = layer.kernels;
  const auto own = std::ranges::find(kernels, layer.kernel);
  if (own != kernels.end()) std::rotate(kernels.begin(), own, own + 1);
  return kernels;
}

Result<Session> session_with(const KernelTuning& tuning, Graph graph, const SessionOptions& options,
                             int64_t batch) {
  store_tuning(tuning, graph);
  PARE_ASSIGN_OR_RETURN(Session session, Session::from_graph(graph, options));
  PARE_RETURN_IF_ERROR(session.plan(batch).status());
  for (const int64_t other : kOtherBatches) PARE_RETURN_IF_ERROR(session.plan(other).status());
  return session;
}

// Every layer's `choice`-th kernel, where it has so many.
KernelTuning choices(const std::vector<LayerPlan>& plan, size_t choice) {
  KernelTuning tuning;
  for (const LayerPlan& layer : plan) {
    const std::vector<std::string> kernels = in_order(layer);
    if (choice < kernels.size()) tuning[layer.name] = kernels[choice];
  }
  return tuning;
}

// One session for each choice; the first is the planner's own.
struct Contest {
  std::vector<Session> sessions;
  std::vector<std::vector<LayerPlan>> plans;
  std::vector<std::vector<double>> times_us;
};

Result<Contest> run_contest(const Graph& graph, const SessionOptions& options,
                            const Dataset& images, int64_t batch, double seconds) {
  Contest contest;
  PARE_ASSIGN_OR_RETURN(Session own, session_with({}, graph, options, batch));
  PARE_ASSIGN_OR_RETURN(const std::vector<LayerPlan> plan, own.plan(batch));
  contest.sessions.push_back(std::move(own));
  contest.plans.push_back(plan);
  size_t most = 0;
  for (const LayerPlan& layer : plan) most = std::max(most, layer.kernels.size());
  for (size_t choice = 1; choice < most; ++choice) {
    auto other = session_with(choices(plan, choice), graph, options, batch);
    if (!other.ok()) continue;  // its packing leaves some batch size without weights
    PARE_ASSIGN_OR_RETURN(std::vector<LayerPlan> its, other->plan(batch));
    if (its.size() != plan.size()) continue;
    contest.sessions.push_back(*std::move(other));
    contest.plans.push_back(std::move(its));
  }
  std::vector<StepSubject> subjects;
  for (Session& session : contest.sessions) subjects.push_back({&session, &images});
  PARE_ASSIGN_OR_RETURN(contest.times_us, measure_steps(subjects, batch, seconds));
  return contest;
}

TunedLayer judge(const Contest& contest, size_t step) {
  TunedLayer layer;
  layer.name = contest.plans[0][step].name;
  layer.operation = contest.plans[0][step].operation;
  for (size_t i = 0; i < contest.plans.size(); ++i) {
    const std::string& kernel = contest.plans[i][step].kernel;
    const double us = contest.times_us[i][step];
    const auto known =
        std::ranges::find(layer.kernels, kernel, &std::pair<std::string, double>::first);
    if (known == layer.kernels.end()) layer.kernels.emplace_back(kernel, us);
  }
  const auto best =
      std::ranges::min_element(layer.kernels, {}, &std::pair<std::string, double>::second);
  const bool worth = best->second <= kWorthIt * layer.kernels[0].second;
  layer.fastest = worth ? best->first : layer.kernels[0].first;
  return layer;
}

double total(const std::vector<double>& times) {
  return std::accumulate(times.begin(), times.end(), 0.0);
}

}  // namespace

Result<TuneResult> tune_kernels(const Graph& graph, const SessionOptions& options,
                                const Dataset& images, int64_t batch, double seconds) {
  PARE_ASSIGN_OR_RETURN(Contest contest, run_contest(graph, options, images, batch, seconds));
  TuneResult result;
  for (size_t step = 0; step < contest.plans[0].size(); ++step) {
    if (!has_choice(contest.plans[0][step])) continue;
    result.layers.push_back(judge(contest, step));
    const TunedLayer& layer = result.layers.back();
    if (layer.fastest != layer.kernels[0].first) result.tuning[layer.name] = layer.fastest;
  }
  result.before_us = result.after_us = total(contest.times_us[0]);
  if (result.tuning.empty()) return result;
  PARE_ASSIGN_OR_RETURN(Session tuned, session_with(result.tuning, graph, options, batch));
  PARE_ASSIGN_OR_RETURN(const AnswerCheck check,
                        check_answers(tuned, graph, options, images, batch));
  result.checked = check.text();
  PARE_ASSIGN_OR_RETURN(
      const auto times,
      measure_steps({{&contest.sessions[0], &images}, {&tuned, &images}}, batch, seconds));
  result.before_us = total(times[0]);
  result.after_us = total(times[1]);
  if (result.after_us < result.before_us) return result;
  result.tuning.clear();
  return result;
}

}  // namespace pare
