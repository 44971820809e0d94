// The last layer of a classifier, fitted to other classes than it was made for.
//
// Where the model names its classes, a class that the data has too keeps its weights (the row of a
// dense layer, the filter of a 1×1 convolution), wherever it now stands; every other class starts
// anew. Where it names none, equal numbers of classes mean the same classes.
#ifndef PARE_TRAIN_HEAD_H_
#define PARE_TRAIN_HEAD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

// What was done, in one line for the user; empty when the head stays as it is. kUnsupported when
// the layer that makes the scores cannot be told.
Result<std::string> fit_head(Graph& graph, const std::vector<std::string>& classes, uint64_t seed);

}  // namespace pare

#endif  // PARE_TRAIN_HEAD_H_
