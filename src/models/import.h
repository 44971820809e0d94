// Import: a model by name with somebody's trained weights.
//
// Weights come as tensors by name, in PyTorch's layouts (a linear layer's [out, in]). Known names:
// Pare's own (also those of torchvision's ResNets), timm's and Hugging Face's for Vision
// Transformers, torchvision's for AlexNet.
//
// Position embeddings of another grid are resampled as timm does (resample_abs_pos_embed): bicubic
// with antialiasing, a = -0.5, half-pixel centres, class token kept as it is.
#ifndef PARE_MODELS_IMPORT_H_
#define PARE_MODELS_IMPORT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/tensor.h"
#include "graph/graph.h"
#include "models/models.h"

namespace pare {

using NamedTensors = std::map<std::string, Tensor>;

struct ImportOptions {
  // classes 0: as many as the weights have; image_size 0: what the position embedding was made for,
  // or the model's own.
  ModelOptions build = {.classes = 0};
  bool allow_unused = false;  // tensors that the model has no place for are noted, not refused
};

struct ImportedModel {
  Graph graph;
  std::vector<std::string> notes;  // what a user should know: resampled, left over
};

// Errors name every tensor that is missing, left over or of another shape.
Result<ImportedModel> import_weights(const std::string& model, const NamedTensors& weights,
                                     const ImportOptions& options);

// Bicubic resampling with antialiasing of [rows, columns, channels] to another grid.
std::vector<float> resample_grid(const std::vector<float>& grid, int64_t rows, int64_t columns,
                                 int64_t channels, int64_t new_rows, int64_t new_columns);

}  // namespace pare

#endif  // PARE_MODELS_IMPORT_H_
