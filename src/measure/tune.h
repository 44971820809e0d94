// Tune: for each layer the kernels that can run it, timed where they stand, and the fastest.
//
// Every layer's first choice is timed, then every layer's second, and so on, each as a whole model,
// since a layer's time depends on what the one before left in the caches; the models take turns.
#ifndef PARE_MEASURE_TUNE_H_
#define PARE_MEASURE_TUNE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "pare/session.h"
#include "pare/status.h"

#include "data/dataset.h"
#include "graph/graph.h"
#include "runtime/tuning.h"

namespace pare {

struct TunedLayer {
  std::string name;
  std::string operation;
  // What could run it, the planner's own choice first, and microseconds of a batch.
  std::vector<std::pair<std::string, double>> kernels;
  std::string fastest;  // the planner's own, unless another takes at most 0.97 of its time
};

struct TuneResult {
  std::vector<TunedLayer> layers;  // those with more than one kernel
  KernelTuning tuning;             // where it is not the planner's own choice
  double before_us = 0;            // of a batch, both in turns; the same where nothing is chosen
  double after_us = 0;
  std::string checked;  // what the tuned model's answers were checked against
};

// The graph's own tuning is left out of account. The answers with the tuned kernels are checked as
// `pare bench` does it; the tuning is empty when the whole is no faster with it. `options`: threads
// and precision.
Result<TuneResult> tune_kernels(const Graph& graph, const SessionOptions& options,
                                const Dataset& images, int64_t batch, double seconds);

}  // namespace pare

#endif  // PARE_MEASURE_TUNE_H_
