// Roofline: how the time of each step of a plan stands to what the machine allows.
//
// A step moves bytes (weights and activations), multiplies and adds, and has to be started:
//   memory_us    weights / rate(all weights and activations of the plan: what comes back each run)
//                + activations / rate(those of the step: the step before has just written them)
//   compute_us   multiply-adds / rate of its arithmetic; of weights among zeros, that of the
//   kernels
//                that pick them out
//   overhead_us  a step's start and a barrier of the pool; in slices no barrier, but a start a
//   slice limit_us     max(memory_us, compute_us) + overhead_us
// Counted is what the kernel cannot avoid: weights that are zero or whose input is zero are left
// out where it leaves them out. Elementwise arithmetic counts as nothing, so a step of exponentials
// may stand well below its limit.
#ifndef PARE_MEASURE_ROOFLINE_H_
#define PARE_MEASURE_ROOFLINE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "pare/session.h"
#include "pare/status.h"

#include "data/dataset.h"
#include "graph/graph.h"
#include "records/schema.h"

namespace pare {

// How much of a layer's input is not zero, over images.
struct InputDensity {
  double elements = 1;
  double columns = 1;  // share of the elements of an image that are not zero in some of a batch
};
// By the value's name (LayerPlan::skips_zeros_of).
using InputDensities = std::map<std::string, InputDensity>;

// Of the inputs whose zeros some kernel of `plan` leaves out; empty when there are none. Runs at
// least 64 of the images, in batches of `batch`. `options` as of the session whose plan it is.
Result<InputDensities> measure_input_densities(const Graph& graph, const SessionOptions& options,
                                               const std::vector<LayerPlan>& plan,
                                               const Dataset& images, int64_t batch);

struct LayerLimit {
  double macs = 0;  // of a batch
  double weight_bytes = 0;
  double activation_bytes = 0;
  double memory_us = 0;
  double compute_us = 0;
  double overhead_us = 0;

  double moved_bytes() const { return weight_bytes + activation_bytes; }
  double work_us() const { return memory_us > compute_us ? memory_us : compute_us; }
  double limit_us() const { return work_us() + overhead_us; }
  // "memory", "compute" or "overhead": the largest of the three.
  const char* bound() const;
};

// One for each step. `ceilings` of as many threads as the plan is for.
std::vector<LayerLimit> layer_limits(const std::vector<LayerPlan>& plan, int64_t batch,
                                     const CeilingsRecord& ceilings,
                                     const InputDensities& densities = {});

// A plan with its times and limits.
struct TimedPlan {
  int64_t batch = 1;
  int64_t threads = 1;
  std::vector<LayerPlan> layers;
  std::vector<LayerLimit> limits;  // one a layer
  std::vector<double> times_us;    // likewise

  double total_us() const;
};

// Of a session of `graph`, made with `options`, whose steps take `times_us`; without limits where
// there are no ceilings. The densities are measured on `images`.
Result<TimedPlan> timed_plan(Session& session, const Graph& graph, const SessionOptions& options,
                             const Dataset& images, int64_t batch, std::vector<double> times_us,
                             const CeilingsRecord* ceilings);

// The layers as records.
std::vector<LayerRecord> layer_records(const TimedPlan& plan, const ModelIdentity& id);

}  // namespace pare

#endif  // PARE_MEASURE_ROOFLINE_H_
