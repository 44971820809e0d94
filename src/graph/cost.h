// Cost: what a graph's layers hold and how much they compute, for summaries and reports.
//
// A MAC is one multiply and one add. Counted are the products that grow with the square of the
// widths: Conv, Gemm, MatMul and the two products of attention, quantised or not. Elementwise work,
// norms and pooling count as nothing, which is how papers count.
#ifndef PARE_GRAPH_COST_H_
#define PARE_GRAPH_COST_H_

#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

// Names of the initializers that hold learned parameters: those that reach a weight's place of some
// node (directly, or through DequantizeLinear, Cast, Transpose and the like). Scales, zero points,
// shapes, the statistics of batch norm and the constants of preprocessing are not among them.
std::unordered_set<std::string> weight_initializers(const Graph& graph);

struct NodeCost {
  int64_t macs = 0;          // for one image
  int64_t parameters = 0;    // each tensor counted at the first node that reads it
  int64_t weight_bytes = 0;  // of those parameters as they are stored
  Shape output_shape;        // of the first output; kDynamic for the number of images
};

// One entry a node, in the graph's order.
Result<std::vector<NodeCost>> node_costs(const Graph& graph);

}  // namespace pare

#endif  // PARE_GRAPH_COST_H_
