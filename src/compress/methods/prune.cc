// prune: removes the smallest weights. See compress/prune.h for the rules of sharing out.
//
// Prunable are the weights of Conv, Gemm and MatMul; biases, norms and embeddings never are. The
// masks stay in the context, so that fine-tuning keeps to them and may also start again from the
// unpruned weights; symmetric quantisation keeps zeros zero.
#include "compress/prune.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "compress/calibrate.h"
#include "compress/layers.h"
#include "compress/method.h"
#include "compress/sensitivity.h"

namespace pare {
namespace {

// Shares at which each layer's damage is measured: dense where the curves bend. The last is also
// the most that a layer may lose.
const std::vector<double> kShares = {0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98};
// One threshold that leaves a layer less than this has as good as emptied it: AlexNet at 80 % keeps
// 0.5 % of its second dense layer and 2.8 % of its last, and answers at random.
constexpr double kNearlyEmpty = 0.03;

struct Plan {
  std::vector<std::string> names;    // layers, for people
  std::vector<std::string> weights;  // initializers, each once
  std::vector<const Tensor*> tensors;
  int64_t total = 0;
};

Result<Plan> prunable(const Graph& graph, const std::vector<std::string>& skip) {
  const std::vector<WeightLayer> layers = find_weight_layers(graph);
  PARE_RETURN_IF_ERROR(check_layer_names(layers, skip, "prune, skip"));
  Plan plan;
  std::set<std::string> seen;
  for (const WeightLayer& layer : layers) {
    if (is_named(layer, skip) || !seen.insert(layer.weight).second) continue;
    plan.names.push_back(layer.name);
    plan.weights.push_back(layer.weight);
    plan.tensors.push_back(graph.find_initializer(layer.weight));
    plan.total += layer.size;
  }
  if (plan.weights.empty())
    return invalid_argument(
        "prune: the model has no float32 weights of Conv, Gemm or MatMul to "
        "prune");
  return plan;
}

std::vector<double> measured_shares(double sparsity) {
  std::vector<double> shares = kShares;
  // A total beyond the densest measured share needs room above it.
  if (sparsity > 0.96) {
    shares.push_back((1 + std::max(sparsity, kShares.back())) / 2);
    shares.push_back((3 + std::max(sparsity, kShares.back())) / 4);
  }
  return shares;
}

Result<std::vector<int64_t>> by_sensitivity(const Graph& graph, const Plan& plan, double sparsity,
                                            CompressContext& context) {
  PARE_ASSIGN_OR_RETURN(const DrawnImages images, draw_images(context));
  PARE_ASSIGN_OR_RETURN(const std::vector<DamageCurve> curves,
                        measure_pruning_damage(graph, plan.weights, measured_shares(sparsity),
                                               *images.sensitivity, context));
  return allocate_budget(curves, std::llround(sparsity * static_cast<double>(plan.total)));
}

Result<std::vector<int64_t>> counts_for(const Graph& graph, const Plan& plan,
                                        const RecipeStep& step, CompressContext& context) {
  const double sparsity = step.number("sparsity");
  const std::string& share = step.word("share");
  if (share == "sensitivity") return by_sensitivity(graph, plan, sparsity, context);
  if (share == "global")
    return allocate_globally(plan.tensors,
                             std::llround(sparsity * static_cast<double>(plan.total)));
  std::vector<int64_t> counts;
  for (const Tensor* tensor : plan.tensors)
    counts.push_back(std::llround(sparsity * static_cast<double>(tensor->size())));
  return counts;
}

Result<Graph> apply_prune(const Graph& graph, const RecipeStep& step, CompressContext& context) {
  PARE_ASSIGN_OR_RETURN(const Plan plan, prunable(graph, step.names("skip")));
  PARE_ASSIGN_OR_RETURN(const std::vector<int64_t> counts, counts_for(graph, plan, step, context));
  Graph result = graph;
  RecipeStepReport& report = *context.report;
  int64_t zeros = 0;
  for (size_t i = 0; i < plan.weights.size(); ++i) {
    const Tensor& weight = *plan.tensors[i];
    const Tensor mask = magnitude_mask(weight, counts[i]);
    Tensor pruned = apply_mask(weight, mask);
    const int64_t layer_zeros = count_zeros(pruned);
    const auto size = static_cast<double>(weight.size());
    zeros += layer_zeros;
    report.layers.push_back({{"layer", plan.names[i]},
                             {"weights", weight.size()},
                             {"kept", weight.size() - layer_zeros},
                             {"sparsity", static_cast<double>(layer_zeros) / size}});
    if (layer_zeros == weight.size()) {
      report.warnings.push_back(fmt::format(
          "layer '{}' was pruned to nothing: its output no longer depends on the image. "
          "share=sensitivity spares such a layer; skip={} leaves it whole",
          plan.names[i], plan.names[i]));
    } else if (size - static_cast<double>(layer_zeros) < kNearlyEmpty * size &&
               step.word("share") == "global") {
      report.warnings.push_back(
          fmt::format("one threshold for all layers nearly empties layer '{}': {} of {} weights "
                      "left. share=sensitivity shares the pruning out by what it costs",
                      plan.names[i], weight.size() - layer_zeros, weight.size()));
    }
    result.initializers[plan.weights[i]] = std::move(pruned);
    context.masks[plan.weights[i]] = mask;
  }
  context.unpruned = graph;
  report.summary = fmt::format(
      "{} of {} weights removed ({:.2f} %), shared out by {}", zeros, plan.total,
      100.0 * static_cast<double>(zeros) / static_cast<double>(plan.total), step.word("share"));
  return result;
}

}  // namespace

Method make_prune_method() {
  using Kind = OptionSpec::Kind;
  Method method;
  method.name = "prune";
  method.summary = "removes the share SPARSITY of all prunable weights, the smallest magnitudes";
  method.source = "Han, Pool, Tran and Dally 2015, 'Learning both Weights and Connections'";
  method.stage = Stage::kFloat;
  method.argument = "sparsity";
  method.options = {
      {"sparsity", Kind::kNumber, "", 0, 0.9999, {}, "share of the weights to remove"},
      {"share",
       Kind::kChoice,
       "sensitivity",
       0,
       0,
       {"sensitivity", "uniform", "global"},
       "how the total is shared out over the layers"},
      {"skip", Kind::kNames, "", 0, 0, {}, "layers to leave whole"},
  };
  method.needs_images = [](const RecipeStep& step) { return step.word("share") == "sensitivity"; };
  method.apply = apply_prune;
  return method;
}

}  // namespace pare
