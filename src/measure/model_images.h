// Images in the form that a model's input contract asks for.
#ifndef PARE_MEASURE_MODEL_IMAGES_H_
#define PARE_MEASURE_MODEL_IMAGES_H_

#include "pare/status.h"

#include "data/dataset.h"
#include "graph/graph.h"

namespace pare {

// Asks for what a contract with the height of the model's input says: its size, and how a picture
// gets there. As `pare run` does: without a `resize` both sides go straight to the size.
void fit_to_contract(const InputContract& contract, DatasetOptions& options);

// Size and resizing as the model wants its images; path, seed and the like are the caller's. Fails
// for a model whose input is no image, or none whose sides are equal.
Result<DatasetOptions> dataset_options_for(const Graph& graph);

}  // namespace pare

#endif  // PARE_MEASURE_MODEL_IMAGES_H_
