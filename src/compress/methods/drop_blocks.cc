// drop-blocks: takes residual branches out of the model, whole: attentions and MLPs of a
// transformer, blocks of a residual net. See compress/residuals.h.
//
// One at a time goes the branch without which the answers change least (mean divergence from the
// model's, without labels), measured anew after each; its mean, channel by channel, stays in its
// place. Sajjad et al. 2023, "On the effect of dropping layers of pre-trained transformer models",
// drop layers by position; measuring each costs branches × blocks runs over 256 images.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "compress/calibrate.h"
#include "compress/layers.h"
#include "compress/method.h"
#include "compress/residuals.h"
#include "graph/cost.h"

namespace pare {
namespace {

struct Removal {
  Residual residual;
  std::vector<float> mean;
  double divergence = 0;  // of the answers without it
};

Result<std::vector<float>> mean_of(const Graph& graph, const Residual& residual,
                                   const Dataset& images, const CompressContext& context) {
  std::vector<double> sums;
  int64_t count = 0;
  ForwardOptions options;
  options.batch_size = context.batch_size;
  options.threads = context.threads;
  options.keep = {residual.value};
  options.show = [&](const std::string&, const Tensor& value) -> Status {
    const int axis = residual.image ? 1 : value.rank() - 1;
    sums.resize(static_cast<size_t>(value.dim(axis)), 0.0);
    for_each_weight(value, axis, [&, v = value.values<float>()](int64_t channel, int64_t i) {
      sums[static_cast<size_t>(channel)] += static_cast<double>(v[static_cast<size_t>(i)]);
    });
    count += value.size() / value.dim(axis);
    return ok_status();
  };
  PARE_RETURN_IF_ERROR(forward(graph, images, options).status());
  std::vector<float> mean;
  mean.reserve(sums.size());
  for (const double sum : sums)
    mean.push_back(static_cast<float>(sum / static_cast<double>(count)));
  return mean;
}

// The branch without which the answers change least.
Result<Removal> least_needed(const Graph& graph, const std::vector<Residual>& residuals,
                             const Tensor& answers, const DrawnImages& images,
                             const CompressContext& context) {
  Removal best;
  best.divergence = std::numeric_limits<double>::infinity();
  for (const Residual& residual : residuals) {
    Removal tried{residual, {}, 0};
    PARE_ASSIGN_OR_RETURN(tried.mean, mean_of(graph, residual, *images.calibration, context));
    ForwardOptions options;
    options.batch_size = context.batch_size;
    options.threads = context.threads;
    PARE_ASSIGN_OR_RETURN(
        const Tensor without,
        forward(without_residual(graph, residual, tried.mean), *images.sensitivity, options));
    tried.divergence = mean_divergence(answers, without);
    if (!std::isfinite(tried.divergence))
      return numeric_error(
          fmt::format("without the branch of '{}' the answers are not finite", residual.add));
    if (tried.divergence < best.divergence) best = std::move(tried);
  }
  return best;
}

// What earlier steps left for later ones loses the same branches.
void cut_context(const Graph& graph, const std::vector<Removal>& removals,
                 CompressContext& context) {
  std::erase_if(context.masks,
                [&](const auto& mask) { return !graph.initializers.contains(mask.first); });
  std::erase_if(context.fixed_masks,
                [&](const std::string& weight) { return !graph.initializers.contains(weight); });
  if (context.unpruned.nodes.empty()) return;
  for (const Removal& removal : removals)
    context.unpruned =
        without_residual(std::move(context.unpruned), removal.residual, removal.mean);
}

int64_t macs_of(const std::vector<NodeCost>& costs) {
  int64_t macs = 0;
  for (const NodeCost& cost : costs) macs += cost.macs;
  return macs;
}

Result<Graph> apply_drop_blocks(const Graph& graph, const RecipeStep& step,
                                CompressContext& context) {
  const auto wanted = static_cast<size_t>(step.number("blocks"));
  const size_t found = find_residuals(graph).size();
  if (found < wanted)
    return invalid_argument(
        fmt::format("drop-blocks: {} branches shall go, and the model has {} of the form x + f(x)",
                    wanted, found));
  PARE_ASSIGN_OR_RETURN(const DrawnImages images, draw_images(context));
  ForwardOptions options;
  options.batch_size = context.batch_size;
  options.threads = context.threads;
  PARE_ASSIGN_OR_RETURN(const Tensor answers, forward(graph, *images.sensitivity, options));
  Graph result = graph;
  std::vector<Removal> removals;
  for (size_t i = 0; i < wanted; ++i) {
    PARE_ASSIGN_OR_RETURN(Removal removal,
                          least_needed(result, find_residuals(result), answers, images, context));
    result = without_residual(std::move(result), removal.residual, removal.mean);
    context.say(
        fmt::format("without '{}': divergence {:.4f}", removal.residual.add, removal.divergence));
    context.report->layers.push_back(
        {{"layer", removal.residual.add}, {"divergence without it", removal.divergence}});
    removals.push_back(std::move(removal));
  }
  cut_context(result, removals, context);
  PARE_ASSIGN_OR_RETURN(const std::vector<NodeCost> before, node_costs(graph));
  PARE_ASSIGN_OR_RETURN(const std::vector<NodeCost> after, node_costs(result));
  context.report->summary = fmt::format(
      "{} of {} residual branches removed, {} of {} parameters and {} of {} MACs left", wanted,
      found, result.parameter_count(), graph.parameter_count(), macs_of(after), macs_of(before));
  return result;
}

}  // namespace

Method make_drop_blocks_method() {
  using Kind = OptionSpec::Kind;
  Method method;
  method.name = "drop-blocks";
  method.summary = "removes the residual branches (attentions, MLPs, blocks) that matter least";
  method.source =
      "Sajjad et al. 2023, 'On the effect of dropping layers of pre-trained transformer models'";
  method.stage = Stage::kFloat;
  method.argument = "blocks";
  method.options = {
      {"blocks", Kind::kInteger, "", 1, 1000, {}, "how many branches go"},
  };
  method.needs_images = [](const RecipeStep&) { return true; };
  method.apply = apply_drop_blocks;
  return method;
}

}  // namespace pare
