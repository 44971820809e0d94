// What stands around infer_shapes() and check_graph() of graph.h.
#ifndef PARE_GRAPH_SHAPES_H_
#define PARE_GRAPH_SHAPES_H_

#include <cstdint>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

// The ONNX opsets a Graph may have.
inline constexpr int64_t kMinOpset = 17;
inline constexpr int64_t kMaxOpset = 21;

// Puts the inferred types and shapes into graph.outputs, whose names are already set.
Status set_output_shapes(Graph& graph);

}  // namespace pare

#endif  // PARE_GRAPH_SHAPES_H_
