// rewind: weights go back to what they were before the recipe, and what is pruned stays zero.
//
// One round of pruning with rewinding is `finetune:E+prune:S+rewind`: training shows which weights
// stay small, those go, and the others begin again (Frankle and Carbin 2019, "The Lottery Ticket
// Hypothesis"; Renda, Frankle and Carbin 2020, "Comparing Rewinding and Fine-tuning in Neural
// Network Pruning", which rewinds to weights that were trained for a while, as the recipe's model
// was).
#include <fmt/format.h>

#include "compress/method.h"
#include "compress/prune.h"

namespace pare {
namespace {

Result<Graph> apply_rewind(const Graph& graph, const RecipeStep&, CompressContext& context) {
  Graph result = graph;
  int64_t weights = 0;
  for (auto& [name, tensor] : result.initializers) {
    if (tensor.type() != DType::kFloat32) continue;
    const Tensor* before = context.original.find_initializer(name);
    if (before == nullptr || before->shape() != tensor.shape())
      return invalid_argument(fmt::format(
          "rewind: '{}' has the shape {}, before the recipe it {}: another step than "
          "prune and finetune changed the model",
          name, shape_string(tensor.shape()),
          before == nullptr ? "was not there" : "had " + shape_string(before->shape())));
    const auto mask = context.masks.find(name);
    tensor = mask == context.masks.end() ? *before : apply_mask(*before, mask->second);
    weights += tensor.size();
  }
  if (context.masks.empty())
    context.report->warnings.push_back(
        "nothing is pruned: this only undoes what the steps before it did to the weights");
  context.train_from_here();
  context.report->summary = fmt::format("{} floats are what they were; {} weights keep their masks",
                                        weights, context.masks.size());
  return result;
}

}  // namespace

Method make_rewind_method() {
  Method method;
  method.name = "rewind";
  method.summary = "weights go back to what they were before the recipe; what is pruned stays zero";
  method.source =
      "Frankle and Carbin 2019, 'The Lottery Ticket Hypothesis'; Renda et al. 2020, 'Comparing "
      "Rewinding and Fine-tuning in Neural Network Pruning'";
  method.stage = Stage::kFloat;
  method.decides_speed = false;
  method.apply = apply_rewind;
  return method;
}

}  // namespace pare
