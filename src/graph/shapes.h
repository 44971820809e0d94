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

// The two numbers of images with which a graph of an open batch is inferred: primes, and of a size
// that no layer has, so that nothing divides or broadcasts by accident.
inline constexpr int64_t kFirstBatch = 1009;
inline constexpr int64_t kSecondBatch = 1013;

// Whether some input leaves the number of images open.
bool has_open_batch(const Graph& graph);

// Puts the inferred types and shapes into graph.outputs, whose names are already set.
Status set_output_shapes(Graph& graph);

}  // namespace pare

#endif  // PARE_GRAPH_SHAPES_H_
