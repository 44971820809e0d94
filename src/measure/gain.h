// Gain: a compressed model's plan beside its original's, layer by layer: how much faster its bytes
// and operations let it be, how much faster it is, and, where it is not, why.
#ifndef PARE_MEASURE_GAIN_H_
#define PARE_MEASURE_GAIN_H_

#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "measure/roofline.h"

namespace pare {

// From here on a layer counts as faster; below it is what two measurements differ by.
inline constexpr double kLeastGain = 1.05;

struct LayerGain {
  std::string name;
  std::string operation;  // the compressed model's; the original's for a step that it has lost
  // Microseconds of a batch; 0 where the model has no such step.
  double before_us = 0;
  double after_us = 0;
  // Times as fast: by the two limits, and by the clock; 0 where one of the models lacks the step.
  double predicted = 0;
  double measured = 0;
  std::string reason;  // why there is no gain, one sentence; empty where there is
};

struct PlanGain {
  std::vector<LayerGain>
      layers;  // the compressed model's steps, then those that only the original has
  // Of all of it. Predicted is how the time would fall if every step of both models kept the share
  // of its limit that the original's steps reach.
  double predicted = 1;
  double measured = 1;
};

// Layers of the same name that begin with the same operation are each other's. `why_unfused`:
// why_unfused() of the compressed model.
PlanGain compare_plans(const TimedPlan& original, const TimedPlan& compressed,
                       const CeilingsRecord& ceilings,
                       const std::map<std::string, std::string>& why_unfused = {});

// For each product with quantised weights that does not multiply integers, and each quantisation
// that no layer takes up: why, by the step's name. `plan`: of the model whose graph this is.
Result<std::map<std::string, std::string>> why_unfused(const Graph& graph,
                                                       const std::vector<LayerPlan>& plan);

// Of LayerPlan::reason, why no kernel for weights with zeros was taken; empty: one was, or there is
// none for this type and processor.
std::string sparse_refusal(const LayerPlan& layer);

}  // namespace pare

#endif  // PARE_MEASURE_GAIN_H_
