// finetune: trains on, with the model before compression as the teacher.
//
// After `prune` it prunes gradually (Zhu and Gupta 2017, "To prune, or not to prune", section 3):
// training starts again from the unpruned weights, and layer l's sparsity follows
//   s_l(p) = s_l · (1 - (1 - p / ramp)³)    for progress p < ramp, then stays at s_l
// with the smallest magnitudes of the moment going. s_l is what `prune` gave the layer. Layers that
// were pruned in a pattern, or by more than magnitude, start from their pruned weights and keep
// their masks. A second `finetune` goes on from the first one's weights and keeps all masks. After
// `share` the values that weights share are trained, not the weights (Han, Mao and Dally 2016,
// "Deep Compression", section 3.3). Distillation is Hinton, Vinyals and Dean 2015.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "compress/method.h"
#include "compress/prune.h"

namespace pare {
namespace {

using Masks = std::map<std::string, Tensor>;

int64_t removed_by(const Tensor& mask) {
  const auto keep = mask.values<uint8_t>();
  return std::count(keep.begin(), keep.end(), uint8_t{0});
}

// Gives the trainer the masks of each moment: those of `fixed` as they are, the others growing.
class CubicSchedule {
 public:
  CubicSchedule(const Masks& last, const std::set<std::string>& fixed, double ramp) : ramp_(ramp) {
    for (const auto& [name, mask] : last) {
      if (fixed.contains(name)) {
        masks_[name] = mask;
      } else {
        goal_[name] = removed_by(mask);
      }
    }
  }

  Result<Masks> masks(double progress, const Graph& current) {
    if (finished_) return masks_;
    const double left = ramp_ > 0 ? 1.0 - std::min(progress / ramp_, 1.0) : 0.0;
    const double share = 1.0 - left * left * left;
    for (const auto& [name, goal] : goal_) {
      const Tensor* weight = current.find_initializer(name);
      if (weight == nullptr || weight->type() != DType::kFloat32)
        return internal_error(
            fmt::format("the trainer's graph has no float32 weight '{}' to prune", name));
      masks_[name] = magnitude_mask(*weight, std::llround(share * static_cast<double>(goal)));
    }
    finished_ = left == 0.0;
    return masks_;
  }

  // The masks that hold at the end: the full goal, even if training ended within the ramp.
  Result<Masks> final_masks(const Graph& trained) { return masks(1.0, trained); }

 private:
  double ramp_;
  std::map<std::string, int64_t> goal_;
  Masks masks_;
  bool finished_ = false;
};

Result<Graph> apply_finetune(const Graph& graph, const RecipeStep& step, CompressContext& context) {
  const bool pruned = !context.masks.empty();
  const bool gradual = context.masks.size() > context.fixed_masks.size() &&
                       !context.unpruned.nodes.empty() && step.word("from") == "unpruned";
  const Graph& start = gradual ? context.unpruned : graph;
  std::set<std::string> fixed = context.fixed_masks;
  if (!gradual)
    for (const auto& [name, mask] : context.masks) fixed.insert(name);
  CubicSchedule schedule(context.masks, fixed, step.number("ramp"));
  FinetuneOptions options;
  options.epochs = step.number("epochs");
  options.learning_rate = step.number("lr");
  options.batch_size = static_cast<int64_t>(step.number("batch"));
  options.seed = context.seed;
  options.threads = context.threads;
  options.teacher = &context.original;
  options.distill_weight = step.number("distill");
  options.distill_temperature = step.number("temperature");
  options.progress = context.progress;
  options.shared = context.shared;
  if (pruned)
    options.masks = [&schedule](double progress, const Graph& current) {
      return schedule.masks(progress, current);
    };
  PARE_ASSIGN_OR_RETURN(Graph result, context.trainer->finetune(start, *context.train, options));
  if (pruned) {
    PARE_ASSIGN_OR_RETURN(context.masks, schedule.final_masks(result));
    for (const auto& [name, mask] : context.masks) {
      Tensor& weight = result.initializers[name];
      weight = apply_mask(weight, mask);
      context.report->layers.push_back({{"layer", name},
                                        {"weights", weight.size()},
                                        {"kept", weight.size() - count_zeros(weight)}});
    }
    // A further fine-tuning goes on from here, and does not throw this one away.
    context.unpruned = {};
  }
  context.report->summary =
      fmt::format("{} epochs on {}{}{}", options.epochs, context.train->description(),
                  gradual  ? ", pruned gradually"
                  : pruned ? ", pruned weights kept zero"
                           : "",
                  context.shared.empty() ? "" : ", shared values kept equal");
  return result;
}

}  // namespace

Method make_finetune_method() {
  using Kind = OptionSpec::Kind;
  Method method;
  method.name = "finetune";
  method.summary =
      "trains on, distilling from the model before compression; after prune, gradually";
  method.source = "Zhu and Gupta 2017, 'To prune, or not to prune'; Hinton et al. 2015";
  method.stage = Stage::kFloat;
  method.argument = "epochs";
  method.options = {
      {"epochs", Kind::kNumber, "", 0.001, 10000, {}, "passes over the training images"},
      {"lr", Kind::kNumber, "0.01", 0, 10, {}, "highest learning rate"},
      {"batch", Kind::kInteger, "256", 1, 65536, {}, "images a step"},
      {"from",
       Kind::kChoice,
       "unpruned",
       0,
       0,
       {"unpruned", "pruned"},
       "after prune: weights to start from; 'pruned' keeps its masks from the first step"},
      {"ramp", Kind::kNumber, "0.7", 0, 1, {}, "share of the training in which sparsity grows"},
      {"distill", Kind::kNumber, "0.9", 0, 1, {}, "share of the loss that is the teacher's"},
      {"temperature", Kind::kNumber, "4", 0.01, 100, {}, "of the teacher's answers"},
  };
  method.keeps_shared = true;
  method.needs_trainer = [](const RecipeStep&) { return true; };
  method.needs_images = [](const RecipeStep&) { return true; };
  method.apply = apply_finetune;
  return method;
}

}  // namespace pare
