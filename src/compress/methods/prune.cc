// prune: removes weights. compress/prune.h has the rules of sharing the total out over the layers,
// compress/pruner.h the scores by which weights go within a layer, compress/pattern.h the patterns,
// compress/scope.h which layers are meant.
//
// Prunable are the weights of Conv, Gemm and MatMul; biases, norms and embeddings never are. The
// masks stay in the context, so that fine-tuning keeps to them; after plain magnitude pruning it
// may also start again from the unpruned weights. Symmetric quantisation keeps zeros zero.
#include "compress/prune.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "compress/calibrate.h"
#include "compress/layers.h"
#include "compress/method.h"
#include "compress/pattern.h"
#include "compress/pruner.h"
#include "compress/scope.h"
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
  std::vector<WeightLayer> layers;   // each weight once
  std::vector<std::string> weights;  // their initializers
  std::vector<const Tensor*> tensors;
  int64_t total = 0;
};

// An N:M pattern says by itself how much goes.
bool is_fixed(const RecipeStep& step) {
  return pattern_from_word(step.word("pattern")).kind == Pattern::Kind::kFixed;
}

Result<Plan> prunable(const Graph& graph, const RecipeStep& step, RecipeStepReport& report) {
  PARE_ASSIGN_OR_RETURN(
      std::vector<WeightLayer> layers,
      layers_in_scope(graph, "prune", step.word("scope"), step.names("only"), step.names("skip")));
  const Pattern pattern = pattern_from_word(step.word("pattern"));
  Plan plan;
  std::string misfits;
  for (WeightLayer& layer : layers) {
    const std::string misfit = pattern_misfit(pattern, weight_matrix(graph, layer));
    if (!misfit.empty()) {
      misfits += fmt::format("{}layer '{}' {}", misfits.empty() ? "" : ", ", layer.name, misfit);
      continue;
    }
    plan.weights.push_back(layer.weight);
    plan.tensors.push_back(graph.find_initializer(layer.weight));
    plan.total += layer.size;
    plan.layers.push_back(std::move(layer));
  }
  if (plan.weights.empty())
    return invalid_argument(
        fmt::format("prune: pattern={} fits no layer: {}", step.word("pattern"), misfits));
  if (!misfits.empty())
    report.warnings.push_back(fmt::format("left whole, since pattern={} does not fit: {}",
                                          step.word("pattern"), misfits));
  return plan;
}

Status check_prune(const RecipeStep& step) {
  const std::string& score = step.word("score");
  if (step.word("share") == "global" && reads_inputs(prune_score_from_word(score)))
    return invalid_argument(
        fmt::format("share=global has one threshold for all layers, and score={} compares "
                    "weights within a layer only; use share=sensitivity or uniform",
                    score));
  if (!is_fixed(step)) return ok_status();
  const Pattern pattern = pattern_from_word(step.word("pattern"));
  const double gone = 1.0 - static_cast<double>(pattern.kept) / static_cast<double>(pattern.group);
  if (std::fabs(step.number("sparsity") - gone) < 1e-9) return ok_status();
  return invalid_argument(
      fmt::format("pattern={} removes {} of each layer's weights, found sparsity {}; write "
                  "prune:{},pattern={}",
                  step.word("pattern"), gone, step.number("sparsity"), gone, step.word("pattern")));
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
                                            Pruner& pruner, CompressContext& context) {
  PARE_ASSIGN_OR_RETURN(const DrawnImages images, draw_images(context));
  PARE_ASSIGN_OR_RETURN(const std::vector<DamageCurve> curves,
                        measure_pruning_damage(graph, plan.weights, measured_shares(sparsity),
                                               *images.sensitivity, pruner, context));
  return allocate_budget(curves, std::llround(sparsity * static_cast<double>(plan.total)));
}

Result<std::vector<int64_t>> counts_for(const Graph& graph, const Plan& plan,
                                        const RecipeStep& step, Pruner& pruner,
                                        CompressContext& context) {
  const double sparsity = step.number("sparsity");
  const std::string& share = step.word("share");
  if (share == "sensitivity" && !is_fixed(step))
    return by_sensitivity(graph, plan, sparsity, pruner, context);
  if (share == "global" && !is_fixed(step)) {
    std::vector<const Tensor*> scores;
    scores.reserve(plan.weights.size());
    for (const std::string& weight : plan.weights) scores.push_back(&pruner.scored_numbers(weight));
    return allocate_globally(scores, std::llround(sparsity * static_cast<double>(plan.total)));
  }
  const Pattern pattern = pattern_from_word(step.word("pattern"));
  std::vector<int64_t> counts;
  for (const Tensor* tensor : plan.tensors)
    counts.push_back(pattern_count(pattern, tensor->size(),
                                   std::llround(sparsity * static_cast<double>(tensor->size()))));
  return counts;
}

// What the user should know about one layer.
void report_layer(const WeightLayer& layer, int64_t zeros, bool saw_nothing, const RecipeStep& step,
                  RecipeStepReport& report) {
  const auto size = static_cast<double>(layer.size);
  report.layers.push_back({{"layer", layer.name},
                           {"weights", layer.size},
                           {"kept", layer.size - zeros},
                           {"sparsity", static_cast<double>(zeros) / size}});
  if (zeros == layer.size) {
    report.warnings.push_back(
        fmt::format("layer '{}' was pruned to nothing: its output no longer depends on the image. "
                    "share=sensitivity spares such a layer; skip={} leaves it whole",
                    layer.name, layer.name));
  } else if (size - static_cast<double>(zeros) < kNearlyEmpty * size &&
             step.word("share") == "global") {
    report.warnings.push_back(
        fmt::format("one threshold for all layers nearly empties layer '{}': {} of {} weights "
                    "left. share=sensitivity shares the pruning out by what it costs",
                    layer.name, layer.size - zeros, layer.size));
  }
  if (saw_nothing)
    report.warnings.push_back(fmt::format(
        "{} layer '{}' is zero on every calibration image: its weights went by magnitude",
        step.word("score") == "taylor" ? "the gradient of" : "the input of", layer.name));
}

Result<Graph> apply_prune(const Graph& graph, const RecipeStep& step, CompressContext& context) {
  RecipeStepReport& report = *context.report;
  PARE_ASSIGN_OR_RETURN(const Plan plan, prunable(graph, step, report));
  const PruneScore score = prune_score_from_word(step.word("score"));
  const Pattern pattern = pattern_from_word(step.word("pattern"));
  PARE_ASSIGN_OR_RETURN(const std::unique_ptr<Pruner> pruner,
                        Pruner::create(graph, plan.layers, score, pattern, context));
  PARE_ASSIGN_OR_RETURN(const std::vector<int64_t> counts,
                        counts_for(graph, plan, step, *pruner, context));
  // Gradual pruning goes by magnitude, weight by weight: it would undo any other choice.
  const bool gradual = score == PruneScore::kMagnitude && pattern.kind == Pattern::Kind::kNone;
  Graph result = graph;
  std::unique_ptr<Pruner> behind_pruned;
  if (reads_inputs(score) && step.word("inputs") == "pruned") {
    PARE_ASSIGN_OR_RETURN(behind_pruned,
                          Pruner::create(result, plan.layers, score, pattern, context, true));
  }
  Pruner& last = behind_pruned ? *behind_pruned : *pruner;
  int64_t zeros = 0;
  for (size_t i = 0; i < plan.weights.size(); ++i) {
    PARE_RETURN_IF_ERROR(context.check_stop());
    PARE_ASSIGN_OR_RETURN(PrunedWeight pruned, last.prune(plan.weights[i], counts[i]));
    PARE_ASSIGN_OR_RETURN(const bool saw_nothing, last.saw_nothing(plan.weights[i]));
    const int64_t layer_zeros = count_zeros(pruned.weight);
    zeros += layer_zeros;
    report_layer(plan.layers[i], layer_zeros, saw_nothing, step, report);
    result.initializers[plan.weights[i]] = std::move(pruned.weight);
    context.masks[plan.weights[i]] = std::move(pruned.mask);
    context.fixed_masks.erase(plan.weights[i]);
    if (!gradual) context.fixed_masks.insert(plan.weights[i]);
  }
  // Weights that an earlier step pruned stay whole there.
  if (context.unpruned.nodes.empty()) {
    context.unpruned = gradual ? graph : result;
  } else if (!gradual) {
    for (const std::string& weight : plan.weights)
      context.unpruned.initializers[weight] = result.initializers[weight];
  }
  report.summary =
      fmt::format("{} of {} weights removed ({:.2f} %), shared out by {}{}{}", zeros, plan.total,
                  100.0 * static_cast<double>(zeros) / static_cast<double>(plan.total),
                  is_fixed(step) ? "the pattern" : step.word("share"),
                  score == PruneScore::kMagnitude ? "" : ", score " + step.word("score"),
                  pattern.kind == Pattern::Kind::kNone ? "" : ", pattern " + step.word("pattern"));
  return result;
}

}  // namespace

Method make_prune_method() {
  using Kind = OptionSpec::Kind;
  Method method;
  method.name = "prune";
  method.summary = "removes the share SPARSITY of all prunable weights, those that matter least";
  method.source =
      "Han, Pool, Tran and Dally 2015, 'Learning both Weights and Connections'; Sun et al. 2023, "
      "'A Simple and Effective Pruning Approach for Large Language Models' (Wanda); Frantar and "
      "Alistarh 2023, 'SparseGPT'; Molchanov et al. 2019, 'Importance Estimation for Neural "
      "Network "
      "Pruning' (taylor)";
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
      {"score",
       Kind::kChoice,
       "magnitude",
       0,
       0,
       {"magnitude", "taylor", "wanda", "sparsegpt"},
       "which weights of a layer go; sparsegpt also changes those that stay"},
      {"inputs",
       Kind::kChoice,
       "pruned",
       0,
       0,
       {"pruned", "whole"},
       "what wanda and sparsegpt look at: behind the layers pruned before, or the whole model's"},
      {"pattern", Kind::kChoice, "none", 0, 0, pattern_words(), "which weights may go together"},
      {"scope",
       Kind::kChoice,
       "all",
       0,
       0,
       {"all", "encoder"},
       "encoder: layers on residual branches only, as the blocks of a ViT"},
      {"only", Kind::kNames, "", 0, 0, {}, "layers to prune; empty: all"},
      {"skip", Kind::kNames, "", 0, 0, {}, "layers to leave whole"},
  };
  method.needs_images = [](const RecipeStep& step) {
    return step.word("score") != "magnitude" ||
           (step.word("share") == "sensitivity" && !is_fixed(step));
  };
  method.needs_trainer = [](const RecipeStep& step) { return step.word("score") == "taylor"; };
  method.check = check_prune;
  method.apply = apply_prune;
  return method;
}

}  // namespace pare
