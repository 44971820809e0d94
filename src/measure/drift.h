// Drift: the same images through two forms of a network, and how far their values have come apart
// after each layer. A float file beside its int8 one, one file in two precisions, or the fast
// kernels beside the references.
#ifndef PARE_MEASURE_DRIFT_H_
#define PARE_MEASURE_DRIFT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "pare/session.h"
#include "pare/status.h"

#include "data/dataset.h"
#include "graph/graph.h"

namespace pare {

// One side of the comparison: a network and how it is run (threads, precision, cpu_level and
// reference_kernels as a Session takes them).
struct DriftSide {
  const Graph* graph = nullptr;
  SessionOptions options;
};

// A value that both have.
struct DriftPoint {
  std::string layer;      // the first network's name of the node that it begins with
  std::string operation;  // "Conv + Relu"
  std::string value;      // its name, in the first
  int64_t elements = 0;   // of all images
  // sqrt(sum of squared differences / sum of the first's squares); 0 where both are the same,
  // infinite where only the second is other than zero or a number.
  double relative_error = 0;
  double largest_difference = 0;
  double largest_value = 0;  // of the first, whatever its sign
};

// In decibels: 10 log10(signal / noise); infinite where nothing differs.
double signal_to_noise_db(const DriftPoint& point);

// Values of layers, in the order of the first network's nodes: those that a node of the same name
// writes, or that have the same name, in the second. Left out are values that are only moved
// (reshaped, transposed) and what is between a layer and its bias or activation, so that those stay
// one step, as in a Session (which may fuse more: the addition of a residual). A value that is
// quantised for all its readers counts as they see it. `images`: the first so many, in batches of
// up to four; both networks must take them.
Result<std::vector<DriftPoint>> measure_drift(const DriftSide& first, const DriftSide& second,
                                              const Dataset& data, int64_t images);

}  // namespace pare

#endif  // PARE_MEASURE_DRIFT_H_
