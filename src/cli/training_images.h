// Training images in the size a model takes, for commands that must not see the test images.
#ifndef PARE_CLI_TRAINING_IMAGES_H_
#define PARE_CLI_TRAINING_IMAGES_H_

#include <memory>

#include "pare/status.h"

#include "data/dataset.h"
#include "graph/graph.h"

namespace pare {

// Both parts of the data, with training images in any case. `options`: path, train_fraction, seed,
// strict and threads count; the rest follows from the model. What the user must know about the
// data, and which they are, is said on stderr. Errors: kNotFound where there are no training
// images.
Result<DatasetPair> open_images_to_train_on(const Graph& graph, const DatasetOptions& options);
// Of it the training images alone.
Result<std::shared_ptr<const Dataset>> open_training_images(const Graph& graph,
                                                            const DatasetOptions& options);

}  // namespace pare

#endif  // PARE_CLI_TRAINING_IMAGES_H_
