// Moving a graph to a newer ONNX opset: rewriting the nodes whose form changed on the way.
#ifndef PARE_GRAPH_OPSET_H_
#define PARE_GRAPH_OPSET_H_

#include <cstdint>

#include "graph/graph.h"

namespace pare {

// Nothing happens when the graph is there already. `target` is at most kMaxOpset. Changes between
// 17 and 21 that touch Pare's operators:
//   18  Reduce* (but ReduceSum) take their axes as input 1; Split without sizes states num_outputs
//   20  Gelu is new
//   21  4-bit types are new
void raise_opset(Graph& graph, int64_t target);

// Axes of a Reduce*, Squeeze or Unsqueeze node, wherever its opset keeps them; empty when it has
// none. Fails when they are not constant.
Result<std::vector<int64_t>> constant_axes(const Graph& graph, const Node& node);

}  // namespace pare

#endif  // PARE_GRAPH_OPSET_H_
