// Sensitivity: what the model's answers lose when one layer alone is pruned.
#ifndef PARE_COMPRESS_SENSITIVITY_H_
#define PARE_COMPRESS_SENSITIVITY_H_

#include <string>
#include <vector>

#include "pare/status.h"

#include "compress/method.h"
#include "compress/prune.h"
#include "compress/pruner.h"
#include "data/dataset.h"
#include "graph/graph.h"

namespace pare {

// Damage (mean divergence of the answers, nats) of pruning each weight to each share as the pruner
// does it, all others whole. `weights`: initializer names, in the pruner's order. Shares ascending,
// within 0 … 1. kNumeric when the answers are not finite. Beside running what follows each layer,
// it costs as many calls of prune() as there are shares, for each layer.
Result<std::vector<DamageCurve>> measure_pruning_damage(const Graph& graph,
                                                        const std::vector<std::string>& weights,
                                                        const std::vector<double>& shares,
                                                        const Dataset& images, Pruner& pruner,
                                                        const CompressContext& context);

}  // namespace pare

#endif  // PARE_COMPRESS_SENSITIVITY_H_
