// Magnitude pruning: which weights go, and how the total is shared out over the layers.
//
// Within a layer the smallest magnitudes go, ties by position, so that the count is exact. Between
// layers:
//   uniform      every layer loses the same share
//   global       one threshold for all layers (it can empty a layer: there is a warning)
//   sensitivity  each layer's damage is measured at a few shares with only that layer pruned, and
//                the total is shared out so that the damages' sum is least (allocate_budget)
//
// Sources: Han et al. 2015, "Learning both Weights and Connections" (magnitude, sensitivity by
// layer); the budget is the classical separable convex allocation (Everett 1963).
#ifndef PARE_COMPRESS_PRUNE_H_
#define PARE_COMPRESS_PRUNE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/tensor.h"
#include "graph/graph.h"

namespace pare {

// Mask of the weight's shape, uint8, 0 for exactly `count` elements of least magnitude.
Tensor magnitude_mask(const Tensor& weight, int64_t count);
// The weight with masked-out elements zero.
Tensor apply_mask(const Tensor& weight, const Tensor& mask);

// How much damage pruning one layer does: shares ascending from 0, damage 0 at 0.
struct DamageCurve {
  int64_t weights = 0;
  std::vector<double> share;
  std::vector<double> damage;
};

// The number of weights to remove from each layer, together `total`, none beyond its curve's last
// share, so that the sum of damages is least. Damage is taken as the lower convex hull of the
// measured points made monotone (where linear interpolation between two shares is what pruning
// somewhat more or less than measured does); then removing greedily where one more weight costs
// least is optimal. kInvalidArgument when the curves do not reach `total`.
Result<std::vector<int64_t>> allocate_budget(const std::vector<DamageCurve>& curves, int64_t total);

// One threshold for all: exactly `total` smallest magnitudes of all tensors together, ties by layer
// and position. Returns the count for each.
std::vector<int64_t> allocate_globally(const std::vector<const Tensor*>& weights, int64_t total);

}  // namespace pare

#endif  // PARE_COMPRESS_PRUNE_H_
