// The search behind `pare tune`: which recipes are tried, in which order, and which is the answer.
//
// Precisions come first, each by itself. Those that lose little enough are then combined with
// pruning and, for speed, with fewer channels; of each, the strongest that still loses little
// enough is found by halving, since what is lost grows with the share that goes. Where training is
// allowed, the levels beyond are tried once more with a fine-tuning behind them. What is tried
// costs time, so the order is from cheap to dear, and the search ends where the next try would not
// fit the budget.
#ifndef PARE_STUDY_TUNE_SEARCH_H_
#define PARE_STUDY_TUNE_SEARCH_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pare/status.h"

namespace pare {

struct TuningGoal {
  enum class Minimise { kLatency, kSize };
  Minimise minimise = Minimise::kLatency;
  double max_drop = 0.3;         // points of top-1 that may be lost
  double budget_seconds = 1800;  // 0: no bound
  double finetune_epochs = 0;    // tried behind pruning and shrinking; 0: nothing is trained
};

// Of one recipe's result against the model as it came, on the same images.
struct TuningFigures {
  double drop = 0;  // points of top-1 lost, with a 95 % interval
  double drop_low = 0;
  double drop_high = 0;
  double flips_percent = 0;
  double latency = 1;      // its time as a share of the model's, measured in turns
  double latency_us = 0;   // its median
  int64_t pare_bytes = 0;  // of its .pare file
};

struct TuningTry {
  std::string recipe;
  std::optional<TuningFigures> figures;
  std::string failure;  // why there are none
  double seconds = 0;
};

struct TuningOutcome {
  std::vector<TuningTry> tries;
  std::optional<size_t> best;  // of `tries`; none loses little enough and is better than the model
  bool out_of_time = false;    // the budget left something untried
};

struct TuningSearch {
  // Makes and measures what a recipe gives. A failure of one recipe (a method that does not fit the
  // model) is a try without figures; an error, kCancelled among them, ends the search.
  std::function<Result<TuningTry>(const std::string& recipe)> measure;
  std::function<double()> elapsed_seconds;
  int64_t model_bytes = 0;  // of the model as it came, as .pare: for kSize an answer is smaller
  // Called after each try with all so far; may be empty.
  std::function<void(const TuningOutcome& so_far)> tried;
};

// Deterministic but for the times. Errors: those of `measure`.
Result<TuningOutcome> search_recipes(const TuningGoal& goal, const TuningSearch& search);

// What is minimised: the share of the time, or bytes.
double objective(const TuningGoal& goal, const TuningFigures& figures);
// Tries that no other is at least as good as in both drop and objective, from the least drop on.
std::vector<size_t> tune_front(const TuningGoal& goal, const std::vector<TuningTry>& tries);

}  // namespace pare

#endif  // PARE_STUDY_TUNE_SEARCH_H_
