// Images in the form that a model's input contract asks for.
#ifndef PARE_MEASURE_MODEL_IMAGES_H_
#define PARE_MEASURE_MODEL_IMAGES_H_

#include "pare/status.h"

#include "data/dataset.h"
#include "graph/graph.h"

namespace pare {

// Size and resizing as the model wants its images; path, seed and the like are the caller's. Fails
// for a model whose input is no image, or none whose sides are equal.
Result<DatasetOptions> dataset_options_for(const Graph& graph);

}  // namespace pare

#endif  // PARE_MEASURE_MODEL_IMAGES_H_
