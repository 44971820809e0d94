// Drift between engines: a network in our runtime beside one in another engine, layer by layer, on
// the same images. The engine is given the model with the values of its layers as further outputs,
// so it may fuse less than it would alone.
#ifndef PARE_MEASURE_PEER_DRIFT_H_
#define PARE_MEASURE_PEER_DRIFT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "pare/status.h"

#include "data/dataset.h"
#include "graph/graph.h"
#include "measure/drift.h"
#include "measure/peer_process.h"

namespace pare {

// Engines that can show the values between layers.
inline const std::vector<std::string>& engines_that_show_values() {
  static const std::vector<std::string> kEngines = {"onnxruntime", "openvino"};
  return kEngines;
}

struct PeerSide {
  const Graph* graph = nullptr;
  std::string engine;
  std::string precision;  // that it computes in: PeerOptions'
  int threads = 1;
};

struct PeerDrift {
  std::string version;  // the engine's
  int64_t images = 0;   // compared: whole batches of four, at least one
  std::vector<DriftPoint> points;
};

// As measure_drift(); `first` is ours. kUnsupported with the engine's own words when it refuses the
// model or the precision.
Result<PeerDrift> measure_peer_drift(const DriftSide& first, const PeerSide& second,
                                     const PeerPlace& place, const Dataset& data, int64_t images);

}  // namespace pare

#endif  // PARE_MEASURE_PEER_DRIFT_H_
