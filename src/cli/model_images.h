// Images in the size a model takes.
#ifndef PARE_CLI_MODEL_IMAGES_H_
#define PARE_CLI_MODEL_IMAGES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "pare/status.h"

#include "cli/progress_line.h"
#include "data/dataset.h"
#include "graph/graph.h"

namespace pare {

// The test images of one data set for any number of models; opened once for each size. What the
// user must know about the data is shown on stderr.
class ModelImages {
 public:
  // `options`: path, strict and threads count; the rest follows from each model.
  explicit ModelImages(DatasetOptions options) : options_(std::move(options)) {}

  // `contract` with the height and width of the model's input.
  Result<std::shared_ptr<const Dataset>> of(const InputContract& contract);

 private:
  struct Size {
    int64_t height = 0;
    int64_t resize = 0;
    // clang-tidy 14 takes the zero of a defaulted comparison for a pointer.
    auto operator<=>(const Size&) const = default;  // NOLINT(modernize-use-nullptr)
  };

  DatasetOptions options_;
  std::map<Size, std::shared_ptr<const Dataset>> open_;
};

}  // namespace pare

#endif  // PARE_CLI_MODEL_IMAGES_H_
