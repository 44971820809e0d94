#include "cli/training_images.h"

#include <fmt/format.h>

#include "measure/model_images.h"

namespace pare {

Result<DatasetPair> open_images_to_train_on(const Graph& graph, const DatasetOptions& options) {
  PARE_ASSIGN_OR_RETURN(DatasetOptions wanted, dataset_options_for(graph));
  wanted.path = options.path;
  wanted.train_fraction = options.train_fraction;
  wanted.seed = options.seed;
  wanted.threads = options.threads;
  wanted.strict = options.strict;
  PARE_ASSIGN_OR_RETURN(DatasetPair pair, open_dataset(wanted));
  for (const std::string& warning : pair.warnings) fmt::print(stderr, "warning: {}\n", warning);
  if (pair.train == nullptr || pair.train->size() == 0) {
    return not_found(options.path +
                     ": no training images, and compression must not see the test images");
  }
  fmt::print(stderr, "{}{}\n",
             options.path.empty() ? "no --data given, so this looks at " : "looking at ",
             pair.train->description());
  return pair;
}

Result<std::shared_ptr<const Dataset>> open_training_images(const Graph& graph,
                                                            const DatasetOptions& options) {
  PARE_ASSIGN_OR_RETURN(const DatasetPair pair, open_images_to_train_on(graph, options));
  return pair.train;
}

}  // namespace pare
