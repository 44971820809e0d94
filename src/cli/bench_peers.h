// pare bench --peers: ONNX Runtime, OpenVINO and PyTorch beside each model, in the same turns.
#ifndef PARE_CLI_BENCH_PEERS_H_
#define PARE_CLI_BENCH_PEERS_H_

#include <optional>
#include <string>
#include <vector>

#include "pare/status.h"

#include "cli/measured_model.h"
#include "data/dataset.h"
#include "measure/latency.h"
#include "measure/peers.h"

namespace pare {

// The peers of one model and number of threads; empty where none were asked for.
struct PeerGroup {
  std::optional<PeerFiles> files;
  Peers peers;
};

// `largest_batch` of those that will be measured; `images` in rotation.
Result<PeerGroup> open_peer_group(const PeerPlace& place, const MeasuredModel& model,
                                  const Dataset& data, const std::vector<std::string>& engines,
                                  int64_t images, int64_t largest_batch);

// What a peer must compute in to be compared. Weights stored in sixteen bits of a model that ours
// computes in float32 are widened by the peers, too.
std::string peer_precision(const MeasuredModel& model);

struct PreparedPeer {
  LatencySubject subject;
  std::string checked;  // how its answers agree with ours, and its settings
};

// Each peer made ready for the batch and compared with ours. One that fails is left out from then
// on, by name. The subjects point into `group`.
Result<std::vector<PreparedPeer>> prepare_peer_group(PeerGroup& group, MeasuredModel& model,
                                                     const Dataset& data, int64_t batch);

// For each record of ours, the fastest peer's on the same model, batch and threads; nullptr where
// there is none.
const LatencyRecord* best_peer(const std::vector<const LatencyRecord*>& all,
                               const LatencyRecord& ours);

}  // namespace pare

#endif  // PARE_CLI_BENCH_PEERS_H_
