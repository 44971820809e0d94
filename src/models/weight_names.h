// The names that others give to a network's tensors, turned into ours.
#ifndef PARE_MODELS_WEIGHT_NAMES_H_
#define PARE_MODELS_WEIGHT_NAMES_H_

#include "pare/status.h"

#include "models/import.h"

namespace pare {

struct RenamedWeights {
  NamedTensors tensors;
  const char* convention = "";  // "Pare's or timm's", ...: for messages
  // Of the layer norms; 0: the model's own. Hugging Face's ViTs use 1e-12 where all others use
  // 1e-6.
  float epsilon = 0;
};

// Hugging Face's separate query, key and value are joined; counters that batch norm keeps for
// training are dropped. Fails when two tensors get one name, or a part of a joined one is missing.
Result<RenamedWeights> rename_weights(const NamedTensors& weights);

}  // namespace pare

#endif  // PARE_MODELS_WEIGHT_NAMES_H_
