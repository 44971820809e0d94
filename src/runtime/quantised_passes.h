// Passes over quantised graphs: Graph -> Graph, for the planner only.
#ifndef PARE_RUNTIME_QUANTISED_PASSES_H_
#define PARE_RUNTIME_QUANTISED_PASSES_H_

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

// A value that is quantised and dequantised, then only moved (Transpose, Reshape, ...), then
// quantised with the same scale and zero point: the first pair changes nothing that the second
// would not, so it goes, and what stands between (attention's last transpose) can be recognised by
// passes that know floats alone. Exact, as below.
Result<Graph> drop_repeated_quantisation(Graph graph);

// QuantizeLinear with scale 1 and zero point 0 of a byte cast to float32 gives the byte back:
// readers get the byte itself.
//
// Operators that only move elements, and the largest of a window, work on integers as well as on
// what they stand for: DequantizeLinear moves behind them (Reshape, Flatten, Transpose, Squeeze,
// Unsqueeze, Slice, MaxPool), where a layer can take it up or a QuantizeLinear with the same scale
// and zero point cancels it. Both are exact: (q - z) * s is monotone in q, and dividing it by s
// again gives q - z to within 2^-22 of its value, which rounds back.
Result<Graph> simplify_quantisation(Graph graph);

}  // namespace pare

#endif  // PARE_RUNTIME_QUANTISED_PASSES_H_
