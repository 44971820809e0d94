// Before and after training: the form of a graph that trains, and the form that is shipped.
#ifndef PARE_TRAIN_FINISH_H_
#define PARE_TRAIN_FINISH_H_

#include <string>

#include "pare/status.h"

#include "graph/graph.h"
#include "train/train.h"

namespace pare {

// The run's graph with the recipe's dropout and its last layer fitted to the data's classes
// (head.h). Refused: a model that does not say how images become its input, and one with weights
// whose names are not UTF-8.
Result<Graph> prepare_graph(const TrainRun& run);

// The trained graph as it is shipped: batch norm folded into the convolution or dense layer before
// it, dropout gone, classes, and how it was trained in the metadata.
Result<Graph> finish_graph(const Graph& trained, const TrainRun& run);

}  // namespace pare

#endif  // PARE_TRAIN_FINISH_H_
