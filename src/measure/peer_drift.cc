#include "measure/peer_drift.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>
#include <utility>

#include "measure/drift_pairs.h"
#include "measure/peers.h"
#include "measure/rotation.h"

namespace pare {
namespace {

// The graph with these values as outputs behind its own; one of its own is not given twice.
Result<Graph> showing(const Graph& graph, const std::vector<std::string>& values) {
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph));
  Graph shown = graph;
  for (const std::string& value : values) {
    if (std::ranges::count(shown.outputs, value, &ValueInfo::name) == 0) {
      shown.outputs.push_back(infos.at(value));
    }
  }
  return shown;
}

// Ours of one batch, by name.
Result<std::map<std::string, std::vector<float>>> own_values(DriftRunner& ours,
                                                             std::span<const uint8_t> pixels) {
  std::map<std::string, std::vector<float>> values;
  const auto hold = [&](const std::string& name, const Tensor& value) {
    ours.values().to_numbers(name, values[name] = to_float_vector(value));
    return ok_status();
  };
  PARE_RETURN_IF_ERROR(ours.run(pixels, kDriftBatch, hold));
  return values;
}

}  // namespace

Result<PeerDrift> measure_peer_drift(const DriftSide& first, const PeerSide& second,
                                     const PeerPlace& place, const Dataset& data, int64_t images) {
  PARE_ASSIGN_OR_RETURN(DriftRunner ours, DriftRunner::create(first));
  PARE_ASSIGN_OR_RETURN(const DriftGraph theirs, DriftGraph::create(*second.graph));
  PARE_ASSIGN_OR_RETURN(std::vector<DriftPair> pairs, pair_values(ours.values(), theirs));
  PARE_ASSIGN_OR_RETURN(const Graph shown,
                        showing(*second.graph, names_of(pairs, &DriftPair::second)));
  const int64_t batches = std::max<int64_t>(1, std::min(images, data.size()) / kDriftBatch);
  const PeerOptions options = {.engines = {second.engine},
                               .precision = second.precision,
                               .threads = second.threads,
                               .images = batches * kDriftBatch,
                               .batch = kDriftBatch};
  PARE_ASSIGN_OR_RETURN(const PeerFiles files, PeerFiles::create(shown, data, options));
  PARE_ASSIGN_OR_RETURN(Peers peers, open_peers(place, files, data.image_shape(), options));
  if (peers.peers.empty()) return unsupported(peers.left_out.at(0));
  Peer& peer = peers.peers[0];
  PARE_RETURN_IF_ERROR(ours.plan(names_of(pairs, &DriftPair::first), kDriftBatch));
  PARE_ASSIGN_OR_RETURN(Rotation rotation,
                        Rotation::create(data, batches * kDriftBatch, kDriftBatch));
  for (int64_t b = 0; b < batches; ++b) {
    PARE_ASSIGN_OR_RETURN(const auto values, own_values(ours, rotation.next()));
    PARE_ASSIGN_OR_RETURN(auto outputs, peer_values(peer, files, kDriftBatch, b * kDriftBatch));
    if (outputs.size() != shown.outputs.size()) {
      return internal_error(fmt::format("{}: {} outputs, expected {}", peer.engine, outputs.size(),
                                        shown.outputs.size()));
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      const std::string& name = shown.outputs[i].name;
      theirs.to_numbers(name, outputs[i]);
      for (DriftPair& pair : pairs) {
        if (pair.second != name) continue;
        PARE_RETURN_IF_ERROR(add_difference(values.at(pair.first), outputs[i], pair));
      }
    }
  }
  PeerDrift drift = {.version = peer.version, .images = batches * kDriftBatch, .points = {}};
  PARE_ASSIGN_OR_RETURN(drift.points, finish(std::move(pairs)));
  return drift;
}

}  // namespace pare
