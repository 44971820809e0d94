// First-order Taylor importance: what the loss changes by when a weight, or all weights that make a
// unit, become zero, as far as its gradient says.
//
//   of a weight  E_b[(g·w)²]                 g: the gradient of batch b's mean cross entropy
//   of a unit    E_b[(Σ g·w)²]               over its weights, biases, norms: all that makes it
//
// The squares are taken batch by batch: over many images the gradients of a trained model add up to
// next to nothing. (Molchanov, Mallya, Tyree, Frosio and Kautz 2019, "Importance Estimation for
// Neural Network Pruning", section 3, equations 6 to 8.)
#ifndef PARE_COMPRESS_TAYLOR_H_
#define PARE_COMPRESS_TAYLOR_H_

#include <map>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/tensor.h"
#include "compress/method.h"
#include "data/dataset.h"
#include "graph/couplings.h"
#include "graph/graph.h"

namespace pare {

// sqrt(E_b[(g·w)²]) of each element, as float32 of the weight's shape, for each of the weights. On
// all `images`, through the context's trainer. kUnsupported, naming it, for a weight that training
// does not change.
Result<std::map<std::string, Tensor>> weight_importance(const Graph& graph,
                                                        const std::vector<std::string>& weights,
                                                        const Dataset& images,
                                                        const CompressContext& context);

// E_b[(Σ g·w)²], by unit number; errors likewise.
Result<std::vector<double>> unit_importance(const Graph& graph, const Couplings& couplings,
                                            const Dataset& images, const CompressContext& context);

}  // namespace pare

#endif  // PARE_COMPRESS_TAYLOR_H_
