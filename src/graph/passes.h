// Structural passes: Graph -> Graph, computing the same function.
//
// Each takes a graph that passes check_graph() and gives one that does. What a pass does not
// recognise it leaves alone. Values that are graph inputs or outputs keep their names; so do nodes,
// and weights that are rewritten for a single reader. Results differ from the original's only by
// rounding, and passes that merely move or drop nodes not even by that.
#ifndef PARE_GRAPH_PASSES_H_
#define PARE_GRAPH_PASSES_H_

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

// Everything below whose result ONNX files can hold, in the order that lets each see the most:
// what `pare import` applies, and what other passes may assume.
Result<Graph> simplify(Graph graph);

// simplify(), fold_normalisation() and fuse_attention(): what the runtime's planner begins with.
// The result may hold pare.Attention (internal_ops.md).
Result<Graph> prepare_for_runtime(Graph graph);

// Puts `batch` in place of the open number of images, for good. Fails on a graph whose shapes do
// not take it.
Result<Graph> fix_batch(Graph graph, int64_t batch);

// Replaces integers that are computed from shapes and constants, and single numbers computed from
// those, by constants; a Reshape target in which only the number of images is open becomes one with
// -1. The Shape, Gather, Concat ... nodes around them disappear.
Result<Graph> fold_shapes(Graph graph);

// Removes nodes that change nothing in inference: Identity, Dropout, casts to the type it is,
// reshapes to the shape it is, transposes that keep the order (two in a row become one), pooling
// windows of one pixel.
Result<Graph> drop_identities(Graph graph);

// Conv or Gemm, then BatchNormalization (nothing else reads between them), also with a MaxPool
// between where no γ is negative, for then the largest stays the largest:
//   w' = w · γ/√(σ²+ε),  b' = (b − μ) · γ/√(σ²+ε) + β,  in double, rounded once.
Result<Graph> fold_batch_norm(Graph graph);

// Scaling and shifting of the image per channel (Mul, Add, Sub, Div by constants behind the input
// and its Cast), a·x + b, into the convolution or dense layer that alone reads it:
//   w'[o,c] = w[o,c] · a[c],  bias'[o] = bias[o] + Σ w[o,c] · b[c],  in double, rounded once.
// Left apart where the convolution pads, because a padded zero stands for a normalised one.
Result<Graph> fold_normalisation(Graph graph);

// (x − mean) / √(variance + ε) · γ + β over the last axes, in the pieces exporters write, becomes
// LayerNormalization.
Result<Graph> fuse_layer_norm(Graph graph);

// x/2 · (1 + erf(x/√2)), and x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))), however the factors are
// ordered, become Gelu (opset 20, to which the graph is raised).
Result<Graph> fuse_gelu(Graph graph);

// softmax(scale · q kᵀ) v between reshapes and transposes becomes pare.Attention, packed where q, k
// and v are thirds of one value.
Result<Graph> fuse_attention(Graph graph);

}  // namespace pare

#endif  // PARE_GRAPH_PASSES_H_
