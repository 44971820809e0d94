// Gradients of a finished network, as methods of compression ask for them.
#ifndef PARE_TRAIN_GRADIENTS_H_
#define PARE_TRAIN_GRADIENTS_H_

#include "pare/status.h"

#include "compress/trainer.h"
#include "data/dataset.h"
#include "graph/graph.h"
#include "train/finetune.h"

namespace pare {

// Trainer::gradients().
Status label_gradients(const Graph& graph, const Dataset& images, const GradientOptions& options,
                       const TorchTrainerOptions& where, const TakeGradients& take);

}  // namespace pare

#endif  // PARE_TRAIN_GRADIENTS_H_
