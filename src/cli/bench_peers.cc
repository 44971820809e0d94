#include "cli/bench_peers.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace pare {

std::string peer_precision(const MeasuredModel& model) {
  if (model.options.precision != "float32") return model.options.precision;
  return model.precision == "int8" ? "int8" : "float32";
}

Result<PeerGroup> open_peer_group(const PeerPlace& place, const MeasuredModel& model,
                                  const Dataset& data, const std::vector<std::string>& engines,
                                  int64_t images, int64_t largest_batch) {
  PeerOptions options;
  options.engines = engines;
  if (model.options.device == "cuda") options.engines = {"pytorch-cuda"};
  options.precision = peer_precision(model);
  options.threads = model.options.threads;
  options.images = images;
  options.batch = largest_batch;
  PeerGroup group;
  PARE_ASSIGN_OR_RETURN(group.files, PeerFiles::create(model.graph, data, options));
  PARE_ASSIGN_OR_RETURN(group.peers, open_peers(place, *group.files, data.image_shape(), options));
  return group;
}

Result<std::vector<PreparedPeer>> prepare_peer_group(PeerGroup& group, MeasuredModel& model,
                                                     const Dataset& data, int64_t batch) {
  constexpr int64_t kCompared = 256;  // images
  std::vector<PreparedPeer> prepared;
  std::vector<Peer>& peers = group.peers.peers;
  for (auto peer = peers.begin(); peer != peers.end();) {
    Status ready = prepare_peer(*peer, batch);
    Result<PeerAgreement> agreement = PeerAgreement{};
    if (ready.ok()) {
      agreement = compare_with_peer(*peer, model.session, data, batch, kCompared);
      if (!agreement.ok()) ready = agreement.status();
    }
    if (!ready.ok()) {
      group.peers.left_out.push_back(
          fmt::format("{}, batch {}: {}", model.name, batch, ready.message()));
      peer = peers.erase(peer);
      continue;
    }
    PreparedPeer p;
    p.subject.id = model.id;
    p.subject.precision = peer_precision(model);
    p.subject.threads = model.options.threads;
    p.subject.device = model.options.device == "cpu" ? "" : model.options.device;
    p.checked = fmt::format(
        "top-1 as ours for {} of {} images, scores at most {:.1e} of the largest apart; {}",
        agreement->same_top1, agreement->images, agreement->difference, peer->settings);
    prepared.push_back(std::move(p));
    ++peer;
  }
  // Only now do the peers stay where they are.
  for (size_t i = 0; i < prepared.size(); ++i) prepared[i].subject.peer = &peers[i];
  return prepared;
}

const LatencyRecord* best_peer(const std::vector<const LatencyRecord*>& all,
                               const LatencyRecord& ours) {
  const LatencyRecord* best = nullptr;
  for (const LatencyRecord* r : all) {
    if (r->engine == ours.engine || r->id.model != ours.id.model || r->batch != ours.batch ||
        r->threads != ours.threads) {
      continue;
    }
    if (best == nullptr || r->latency_us_p50 < best->latency_us_p50) best = r;
  }
  return best;
}

}  // namespace pare
