// Planner: from a graph to a plan.
//
//   prepare_graph   once a session: passes, constants folded; holds for every batch size
//   make_plan       once a batch size: shapes, fusion, kernels, memory
#ifndef PARE_RUNTIME_PLANNER_H_
#define PARE_RUNTIME_PLANNER_H_

#include <memory>
#include <string>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"
#include "runtime/lowering.h"
#include "runtime/plan.h"

namespace pare {

// Constants folded, the structural passes of graph/passes.h, dequantisation moved to where layers
// take it up. Values between input and output change their names.
Result<Graph> prepare_graph(Graph graph);

struct PlannedGraph {
  std::shared_ptr<const Plan> plan;
  // Initializers whose memory the plan does not need, since packed copies are in the weight store.
  std::vector<std::string> releasable;
};
Result<PlannedGraph> make_plan(const Graph& graph, const PlanOptions& options,
                               WeightStore& weights);

// The outputs of a graph without inputs, by the reference kernels.
Result<std::vector<Tensor>> evaluate_reference(const Graph& graph);

// The type in which a session of this precision (SessionOptions) stores what float layers keep.
Result<DType> storage_type(const std::string& precision);

// The kernel request of a level name ("" for the best there is) on this processor.
Result<KernelRequest> kernel_request(const std::string& cpu_level, bool reference);

}  // namespace pare

#endif  // PARE_RUNTIME_PLANNER_H_
