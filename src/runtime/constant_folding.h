// Constant folding: what depends on no input is worked out once, by the reference kernels.
//
// Left alone are quantised weights (DequantizeLinear of a constant: integer kernels want the
// integers), 16-bit weights behind a Cast (they stay 16-bit in memory), and results larger than
// their operands and kMaxFoldedGrowth together.
#ifndef PARE_RUNTIME_CONSTANT_FOLDING_H_
#define PARE_RUNTIME_CONSTANT_FOLDING_H_

#include <cstdint>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

inline constexpr int64_t kMaxFoldedGrowth = int64_t{1} << 20;  // elements

// The graph without the nodes whose outputs are constants; those that others read become
// initializers.
Result<Graph> fold_constants(Graph graph);

}  // namespace pare

#endif  // PARE_RUNTIME_CONSTANT_FOLDING_H_
