// Slices: a net's first part run a few images at a time, each slice on one core.
//
// At a large batch a step's activations no longer fit in a core's cache, and every step ends with
// all threads waiting for the last. Layers before the head treat each image by itself, so they run
// as well on a few images at a time, from the first layer to the last, without meeting anybody; the
// head, whose weights are large and read once for the whole batch, follows with all threads.
#ifndef PARE_RUNTIME_SLICES_H_
#define PARE_RUNTIME_SLICES_H_

#include <cstdint>
#include <optional>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

// Two graphs that do one after the other what a graph does. One value passes between them: the only
// output of `images` is the only input of `head`. Tensors are shared with the graph, under the same
// names.
struct SplitGraph {
  Graph images;                    // each output row depends on its own image alone
  Graph head;                      // may be empty of nodes
  bool head_follows_relu = false;  // its input is a ReLU's result (operator_kinds.h)
};

// Splits a prepared graph with one input before its first product that has one row an image, or
// before the first operator that is not known to keep images apart (one that looks across the
// batch, as dynamic quantisation does). nullopt when there is no such place behind a product, or
// the graph is not for any number of images.
std::optional<SplitGraph> split_for_slices(const Graph& graph);

// Images in a slice of `split.images`; 0 when `batch` is better run at once.
int64_t slice_size(int64_t batch);

}  // namespace pare

#endif  // PARE_RUNTIME_SLICES_H_
