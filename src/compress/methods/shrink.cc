// shrink: takes whole channels, dense units, attention heads and columns of MLPs out of the model.
// See graph/couplings.h for what goes together and compress/shrink.h for what goes.
//
// The result is a smaller dense model: any engine runs it faster, and a fine-tuning behind it
// trains the smaller one, the whole model its teacher. Masks of an earlier `prune` are cut with
// their weights.
#include "compress/shrink.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "compress/calibrate.h"
#include "compress/layers.h"
#include "compress/method.h"
#include "compress/taylor.h"
#include "compress/unit_readers.h"
#include "graph/cost.h"

namespace pare {
namespace {

bool needs_moments(const RecipeStep& step) {
  return step.word("importance") == "variance" || step.word("means") == "bias";
}
bool looks_at_images(const RecipeStep& step) {
  return needs_moments(step) || step.word("importance") == "taylor";
}

bool makes(const UnitGroup& group, const WeightLayer& layer) {
  return std::any_of(group.axes.begin(), group.axes.end(), [&](const WeightAxis& axis) {
    return axis.role == WeightAxis::Role::kMakes && axis.weight == layer.weight;
  });
}

// By layer, why it keeps its width.
using Whole = std::map<std::string, std::string>;

struct Choice {
  std::vector<bool> may_go;  // by group
  Whole whole;
};

Choice groups_that_may_go(const Graph& graph, const Couplings& couplings, const RecipeStep& step) {
  const std::vector<WeightLayer> layers = find_weight_layers(graph);
  Choice choice;
  for (const FixedLayer& fixed : couplings.fixed) choice.whole[fixed.layer] = fixed.why;
  for (const UnitGroup& group : couplings.groups) {
    std::string why;
    if (!group.normalised_by.empty() && step.word("normalised") == "keep")
      why = fmt::format("'{}' normalises over it", group.normalised_by);
    for (const WeightLayer& layer : layers)
      if (makes(group, layer) && is_named(layer, step.names("skip"))) why = "skip";
    choice.may_go.push_back(why.empty());
    if (why.empty()) continue;
    for (const WeightLayer& layer : layers)
      if (makes(group, layer)) choice.whole[layer.name] = why;
  }
  return choice;
}

ShrinkBudget budget_of(const RecipeStep& step) {
  return {.macs = step.number("macs"),
          .parameters = step.number("parameters"),
          .each = step.number("each"),
          .most = step.number("most"),
          .multiple = static_cast<int64_t>(step.number("multiple"))};
}

Result<std::map<std::string, Moments>> moments_for(const Graph& graph, const Couplings& couplings,
                                                   CompressContext& context) {
  PARE_ASSIGN_OR_RETURN(const std::vector<UnitReader> readers, find_unit_readers(graph, couplings));
  std::vector<WeightLayer> layers;
  layers.reserve(readers.size());
  for (const UnitReader& reader : readers) layers.push_back(reader.layer);
  PARE_ASSIGN_OR_RETURN(const DrawnImages images, draw_images(context));
  return measure_input_moments(graph, layers, *images.calibration, context);
}

Result<std::vector<double>> damage_of(const Graph& graph, const Couplings& couplings,
                                      const RecipeStep& step,
                                      const std::map<std::string, Moments>& moments,
                                      const CompressContext& context) {
  const std::string& importance = step.word("importance");
  if (importance != "taylor")
    return unit_damage(graph, couplings, importance_from_word(importance), moments);
  PARE_ASSIGN_OR_RETURN(const DrawnImages images, draw_images(context));
  return unit_importance(graph, couplings, *images.calibration, context);
}

struct LayerFigures {
  int64_t channels = 0;
  int64_t parameters = 0;
  int64_t macs = 0;
};

struct Figures {
  std::map<std::string, LayerFigures> layers;
  int64_t macs = 0;
  int64_t parameters = 0;
};

Result<Figures> figures_of(const Graph& graph) {
  PARE_ASSIGN_OR_RETURN(const std::vector<NodeCost> costs, node_costs(graph));
  Figures figures;
  for (const WeightLayer& layer : find_weight_layers(graph)) {
    const NodeCost& cost = costs[static_cast<size_t>(layer.node)];
    figures.layers[layer.name] = {layer.channels, cost.parameters, cost.macs};
  }
  for (const NodeCost& cost : costs) {
    figures.macs += cost.macs;
    figures.parameters += cost.parameters;
  }
  return figures;
}

double share(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

Status report_sizes(const Graph& graph, const Graph& shrunk, const Whole& whole,
                    RecipeStepReport& report) {
  PARE_ASSIGN_OR_RETURN(Figures before, figures_of(graph));
  PARE_ASSIGN_OR_RETURN(Figures after, figures_of(shrunk));
  for (const WeightLayer& layer : find_weight_layers(graph)) {
    const LayerFigures& was = before.layers[layer.name];
    const LayerFigures& is = after.layers[layer.name];
    const auto why = whole.find(layer.name);
    report.layers.push_back({{"layer", layer.name},
                             {"outputs", was.channels},
                             {"outputs left", is.channels},
                             {"parameters", was.parameters},
                             {"parameters left", is.parameters},
                             {"MACs", was.macs},
                             {"MACs left", is.macs},
                             {"outputs stay for", why == whole.end() ? "" : why->second}});
  }
  report.summary =
      fmt::format("{} of {} parameters left ({:.1f} %), {} of {} MACs ({:.1f} %)", after.parameters,
                  before.parameters, 100 * share(after.parameters, before.parameters), after.macs,
                  before.macs, 100 * share(after.macs, before.macs));
  return ok_status();
}

// What earlier steps left for later ones has the old widths, and the means that are lost.
Status cut_context(const Couplings& couplings, const std::vector<bool>& removed,
                   const std::map<std::string, Moments>& moments, bool move_means,
                   CompressContext& context) {
  for (auto& [weight, mask] : context.masks) mask = without_units(weight, mask, couplings, removed);
  if (context.unpruned.nodes.empty()) return ok_status();
  PARE_ASSIGN_OR_RETURN(Graph cut, remove_units(context.unpruned, couplings, removed));
  if (move_means) {
    PARE_ASSIGN_OR_RETURN(
        cut, move_means_into_biases(context.unpruned, std::move(cut), couplings, removed, moments));
  }
  context.unpruned = std::move(cut);
  return ok_status();
}

Status check_options(const Graph& graph, const RecipeStep& step) {
  PARE_RETURN_IF_ERROR(
      check_layer_names(find_weight_layers(graph), step.names("skip"), "shrink, skip"));
  const ShrinkBudget budget = budget_of(step);
  if (budget.macs >= 1 && budget.parameters >= 1 && budget.each <= 0)
    return invalid_argument(
        "shrink: nothing to do: state macs, parameters or each, as in shrink:0.5 for half of the "
        "MACs");
  return ok_status();
}

Status check_known(const Couplings& couplings, const std::vector<double>& damage) {
  if (couplings.groups.empty()) {
    std::string reasons;
    for (const FixedLayer& fixed : couplings.fixed)
      reasons += fmt::format("{}'{}' for {}", reasons.empty() ? "" : ", ", fixed.layer, fixed.why);
    return invalid_argument("shrink: the outputs of every layer stay: " + reasons);
  }
  const bool any = std::any_of(damage.begin(), damage.end(), [](double d) { return d < 1e300; });
  if (any) return ok_status();
  return invalid_argument(
      "shrink: importance=bn needs batch norms, and the model has none that are not part of a "
      "convolution: use variance or l2");
}

Result<Graph> apply_shrink(const Graph& graph, const RecipeStep& step, CompressContext& context) {
  PARE_RETURN_IF_ERROR(check_options(graph, step));
  PARE_ASSIGN_OR_RETURN(const Couplings couplings, find_couplings(graph));
  std::map<std::string, Moments> moments;
  if (needs_moments(step)) {
    PARE_ASSIGN_OR_RETURN(moments, moments_for(graph, couplings, context));
  }
  PARE_ASSIGN_OR_RETURN(const std::vector<double> damage,
                        damage_of(graph, couplings, step, moments, context));
  PARE_RETURN_IF_ERROR(check_known(couplings, damage));
  const Choice choice = groups_that_may_go(graph, couplings, step);
  PARE_ASSIGN_OR_RETURN(const std::vector<bool> removed,
                        choose_units(graph, couplings, damage, choice.may_go, budget_of(step)));
  PARE_ASSIGN_OR_RETURN(Graph shrunk, remove_units(graph, couplings, removed));
  const bool move_means = step.word("means") == "bias";
  if (move_means) {
    PARE_ASSIGN_OR_RETURN(
        shrunk, move_means_into_biases(graph, std::move(shrunk), couplings, removed, moments));
  }
  PARE_RETURN_IF_ERROR(cut_context(couplings, removed, moments, move_means, context));
  PARE_RETURN_IF_ERROR(report_sizes(graph, shrunk, choice.whole, *context.report));
  return shrunk;
}

}  // namespace

Method make_shrink_method() {
  using Kind = OptionSpec::Kind;
  Method method;
  method.name = "shrink";
  method.summary =
      "removes channels, dense units, attention heads and MLP columns: a smaller dense model";
  method.source =
      "Fang et al. 2023, 'DepGraph: Towards Any Structural Pruning'; Li et al. 2017, 'Pruning "
      "Filters for Efficient ConvNets'; Molchanov et al. 2019, 'Importance Estimation for Neural "
      "Network Pruning' (taylor)";
  method.stage = Stage::kFloat;
  method.argument = "macs";
  method.options = {
      {"macs", Kind::kNumber, "1", 0.001, 1, {}, "share of the MACs that may be left"},
      {"parameters", Kind::kNumber, "1", 0.001, 1, {}, "share of the parameters that may be left"},
      {"each", Kind::kNumber, "0", 0, 0.99, {}, "share of every group's units that goes"},
      {"importance",
       Kind::kChoice,
       "variance",
       0,
       0,
       {"variance", "taylor", "l2", "l1", "bn"},
       "what a unit counts: its variance on images, its gradients, its weights, or its batch "
       "norm's scale"},
      {"multiple", Kind::kInteger, "8", 1, 256, {}, "widths that are left are multiples of it"},
      {"most", Kind::kNumber, "0.9", 0, 1, {}, "largest share of a group's units that may go"},
      {"normalised",
       Kind::kChoice,
       "keep",
       0,
       0,
       {"keep", "shrink"},
       "units over which a norm is taken, such as a transformer's embedding"},
      {"means",
       Kind::kChoice,
       "bias",
       0,
       0,
       {"bias", "drop"},
       "what removed units gave on average: moved into the next bias, or lost"},
      {"skip", Kind::kNames, "", 0, 0, {}, "layers whose outputs stay"},
  };
  method.needs_images = looks_at_images;
  method.needs_trainer = [](const RecipeStep& step) { return step.word("importance") == "taylor"; };
  method.apply = apply_shrink;
  return method;
}

}  // namespace pare
