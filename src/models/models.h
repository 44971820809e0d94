// The models that Pare can build, each a function from options to a Graph with initialised weights.
#ifndef PARE_MODELS_MODELS_H_
#define PARE_MODELS_MODELS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

struct ModelOptions {
  int64_t classes = 10;
  int64_t image_size = 0;  // 0: the model's own
  uint64_t seed = 0;
  // Mean and standard deviation of pixels in 0 … 1, one for each channel or one for all, put into
  // the graph's first nodes. Empty: CIFAR-10's (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
  // for small images and ImageNet's (0.485, 0.456, 0.406), (0.229, 0.224, 0.225) from 64 pixels on.
  std::vector<float> mean = {};
  std::vector<float> std = {};
  // Builds the form that trains best (batch norm behind convolutions, which folds away); the
  // exported network never has it.
  bool training_form = false;
  // Leaves random weights zero: for a model whose weights are about to be replaced, or only
  // counted.
  bool zero_weights = false;
};

struct ModelEntry {
  std::string name;         // "alexnet"
  std::string description;  // one line for `pare models`
  Result<Graph> (*build)(const ModelOptions& options);
};

const std::vector<ModelEntry>& model_entries();
// An unknown name lists those there are, the nearest first.
Result<Graph> build_model(const std::string& name, const ModelOptions& options);

}  // namespace pare

#endif  // PARE_MODELS_MODELS_H_
