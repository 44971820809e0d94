#include "study/tune_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace pare {
namespace {

// Precisions by goal, each a step that may end a recipe. GPTQ's rounding changes fewer answers than
// rounding to nearest and runs as fast (docs/results/quantisation.md).
const std::vector<std::string> kFastPrecisions = {"int8,rounding=gptq", "int4", "bf16"};
const std::vector<std::string> kSmallPrecisions = {"int8,rounding=gptq", "int4", "round", "fp16"};
// Shares of all weights that go: the sparse kernels pay from about 0.7 on, files at once.
const std::vector<double> kSparsities = {0.3,  0.4,  0.5,  0.6,  0.65, 0.7,  0.75, 0.8,
                                         0.85, 0.88, 0.91, 0.93, 0.95, 0.96, 0.97, 0.98};
// Shares of the MACs that are left.
const std::vector<double> kWidths = {0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3};

// vit-seed: 3 s for int8, 78 s for SparseGPT with its sensitivities and int8 (two Zen 3 cores).
constexpr double kDearer = 20;

class Searcher {
 public:
  Searcher(const TuningGoal& goal, const TuningSearch& search) : goal_(goal), search_(search) {}

  Result<TuningOutcome> run() {
    const bool fast = goal_.minimise == TuningGoal::Minimise::kLatency;
    std::vector<std::string> ends = {""};
    for (const std::string& precision : fast ? kFastPrecisions : kSmallPrecisions) {
      PARE_ASSIGN_OR_RETURN(const Verdict verdict, attempt(precision, Kind::kPrecision));
      if (verdict == Verdict::kGood) ends.push_back(precision);
    }
    order_by_objective(ends);
    for (const std::string& end : ends) {
      PARE_ASSIGN_OR_RETURN(const size_t pruned,
                            strongest(pruning(end, false), 0, Kind::kCombined));
      size_t narrowed = 0;
      if (fast) {
        PARE_ASSIGN_OR_RETURN(narrowed, strongest(narrowing(end, false), 0, Kind::kCombined));
      }
      if (goal_.finetune_epochs <= 0) continue;
      PARE_RETURN_IF_ERROR(strongest(pruning(end, true), pruned, Kind::kTrained).status());
      if (fast)
        PARE_RETURN_IF_ERROR(strongest(narrowing(end, true), narrowed, Kind::kTrained).status());
    }
    return std::move(outcome_);
  }

 private:
  enum class Verdict { kGood, kBad, kUntried };
  enum class Kind { kPrecision, kCombined, kTrained };  // from cheap to dear

  // Recipes from the weakest to the strongest.
  std::vector<std::string> pruning(const std::string& end, bool trained) const {
    std::vector<std::string> recipes;
    recipes.reserve(kSparsities.size());
    for (const double share : kSparsities)
      recipes.push_back(joined(fmt::format("prune:{},score=sparsegpt", share), trained, end));
    return recipes;
  }
  std::vector<std::string> narrowing(const std::string& end, bool trained) const {
    std::vector<std::string> recipes;
    recipes.reserve(kWidths.size());
    for (const double share : kWidths)
      recipes.push_back(joined(fmt::format("shrink:{}", share), trained, end));
    return recipes;
  }
  std::string joined(std::string first, bool trained, const std::string& end) const {
    if (trained) first += fmt::format("+finetune:{}", goal_.finetune_epochs);
    return end.empty() ? first : first + "+" + end;
  }

  // The number of the strongest recipe that is good, counted from 1, or `known` where none beyond
  // the first `known` is.
  Result<size_t> strongest(const std::vector<std::string>& recipes, size_t known, Kind kind) {
    size_t good = known;
    size_t bad = recipes.size() + 1;
    while (good + 1 < bad) {
      const size_t middle = good + (bad - good) / 2;
      PARE_ASSIGN_OR_RETURN(const Verdict verdict, attempt(recipes[middle - 1], kind));
      if (verdict == Verdict::kUntried) break;
      (verdict == Verdict::kGood ? good : bad) = middle;
    }
    return good;
  }

  Result<Verdict> attempt(const std::string& recipe, Kind kind) {
    if (!fits_budget(kind)) {
      outcome_.out_of_time = true;
      return Verdict::kUntried;
    }
    PARE_ASSIGN_OR_RETURN(TuningTry one, search_.measure(recipe));
    double& dearest = dearest_[static_cast<size_t>(kind)];
    dearest = std::max(dearest, one.seconds);
    const bool good = one.figures && one.figures->drop <= goal_.max_drop;
    outcome_.tries.push_back(std::move(one));
    if (good) consider(outcome_.tries.size() - 1);
    if (search_.tried) search_.tried(outcome_);
    return good ? Verdict::kGood : Verdict::kBad;
  }

  // A try takes as long as the dearest of its kind so far; the first of a kind, so many times what
  // a simpler one did.
  bool fits_budget(Kind kind) const {
    if (goal_.budget_seconds <= 0) return true;
    const auto mine = dearest_.begin() + static_cast<int>(kind);
    double expected = *mine;
    if (expected == 0 && mine != dearest_.begin())
      expected = kDearer * *std::max_element(dearest_.begin(), mine);
    return search_.elapsed_seconds() + expected <= goal_.budget_seconds;
  }

  void consider(size_t i) {
    const TuningFigures& mine = *outcome_.tries[i].figures;
    const double then = objective(goal_, mine);
    if (then >= model_objective()) return;  // the model as it came is as good
    if (outcome_.best) {
      const TuningFigures& best = *outcome_.tries[*outcome_.best].figures;
      const double now = objective(goal_, best);
      if (then > now || (then == now && mine.drop >= best.drop)) return;
    }
    outcome_.best = i;
  }

  double model_objective() const {
    return goal_.minimise == TuningGoal::Minimise::kLatency
               ? 1.0
               : static_cast<double>(search_.model_bytes);
  }

  // The best first, so that a budget that ends early ends among the others; "" is the model itself.
  void order_by_objective(std::vector<std::string>& ends) const {
    const auto value = [&](const std::string& end) {
      for (const TuningTry& one : outcome_.tries)
        if (one.recipe == end) return objective(goal_, *one.figures);
      return HUGE_VAL;
    };
    std::ranges::stable_sort(ends, {}, value);
  }

  const TuningGoal& goal_;
  const TuningSearch& search_;
  TuningOutcome outcome_;
  std::array<double, 3> dearest_ = {};  // seconds of a try, by kind
};

}  // namespace

Result<TuningOutcome> search_recipes(const TuningGoal& goal, const TuningSearch& search) {
  return Searcher(goal, search).run();
}

double objective(const TuningGoal& goal, const TuningFigures& figures) {
  return goal.minimise == TuningGoal::Minimise::kLatency ? figures.latency
                                                         : static_cast<double>(figures.pare_bytes);
}

std::vector<size_t> tune_front(const TuningGoal& goal, const std::vector<TuningTry>& tries) {
  std::vector<size_t> order;
  for (size_t i = 0; i < tries.size(); ++i)
    if (tries[i].figures) order.push_back(i);
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    const TuningFigures& x = *tries[a].figures;
    const TuningFigures& y = *tries[b].figures;
    return x.drop != y.drop ? x.drop < y.drop : objective(goal, x) < objective(goal, y);
  });
  std::vector<size_t> front;
  double least = HUGE_VAL;
  for (const size_t i : order) {
    const double value = objective(goal, *tries[i].figures);
    if (value >= least) continue;
    least = value;
    front.push_back(i);
  }
  return front;
}

}  // namespace pare
