// Before and after training: the form of a graph that trains, and the form that is shipped.
#ifndef PARE_TRAIN_FINISH_H_
#define PARE_TRAIN_FINISH_H_

#include <string>

#include "pare/status.h"

#include "graph/graph.h"
#include "train/train.h"

namespace pare {

// The run's graph with the recipe's dropout and, where the data has another number of classes than
// the model, a fresh last layer. A model whose last layer cannot be told apart is refused then.
Result<Graph> prepare_graph(const TrainRun& run);

// The trained graph as it is shipped: batch norm folded into the convolution or dense layer before
// it, dropout gone, classes, and how it was trained in the metadata.
Result<Graph> finish_graph(const Graph& trained, const TrainRun& run);

Status write_trained_model(const Graph& graph, const std::string& path);

}  // namespace pare

#endif  // PARE_TRAIN_FINISH_H_
