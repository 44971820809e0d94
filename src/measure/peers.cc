#include "measure/peers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/file.h"
#include "graph/model_file.h"
#include "measure/rotation.h"

namespace pare {
namespace {

using nlohmann::json;

Status said_otherwise(const Peer& peer, const char* expected) {
  return internal_error(fmt::format("{}: expected {} in its answer", peer.engine, expected));
}

void remove_folder(const std::string* folder) {
  std::error_code ignored;
  std::filesystem::remove_all(*folder, ignored);
  delete folder;
}

// An array of numbers; nullptr entries and texts are no numbers.
bool read_numbers(const json& array, std::vector<double>& numbers) {
  if (!array.is_array()) return false;
  for (const json& value : array) {
    if (!value.is_number()) return false;
    numbers.push_back(value.get<double>());
  }
  return true;
}

size_t top1(std::span<const double> scores) {
  return static_cast<size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

Result<Peer> open_peer(const PeerPlace& place, const PeerFiles& files, const std::string& engine,
                       const ImageShape& shape, const PeerOptions& options) {
  PARE_ASSIGN_OR_RETURN(PeerProcess process, PeerProcess::start(place));
  Peer peer{engine, "", "", std::move(process), files.image_count()};
  PARE_ASSIGN_OR_RETURN(const json answer,
                        peer.process.ask({{"op", "open"},
                                          {"engine", engine},
                                          {"model", files.model()},
                                          {"precision", options.precision},
                                          {"threads", options.threads},
                                          {"images", files.images()},
                                          {"shape", {shape.channels, shape.height, shape.width}}}));
  const auto version = answer.find("version");
  if (version == answer.end() || !version->is_string()) return said_otherwise(peer, "a version");
  peer.version = version->get<std::string>();
  return peer;
}

}  // namespace

Result<PeerFiles> PeerFiles::create(const Graph& graph, const Dataset& images,
                                    const PeerOptions& options) {
  std::error_code error;
  std::string name = (std::filesystem::temp_directory_path(error) / "pare-peers-XXXXXX").string();
  if (error || ::mkdtemp(name.data()) == nullptr) {
    return io_error(fmt::format("{}: {}", name, std::strerror(errno)));
  }
  const int64_t count = std::min(images.size(), std::max(options.images, options.batch));
  PeerFiles files(std::shared_ptr<const std::string>(new std::string(name), remove_folder), count);
  PARE_RETURN_IF_ERROR(save_model(graph, files.model()));
  PARE_ASSIGN_OR_RETURN(Rotation rotation, Rotation::create(images, count, count));
  PARE_RETURN_IF_ERROR(write_file(files.images(), std::as_bytes(rotation.next())));
  return files;
}

Result<Peers> open_peers(const PeerPlace& place, const PeerFiles& files, const ImageShape& shape,
                         const PeerOptions& options) {
  Peers all;
  for (const std::string& engine : options.engines) {
    auto peer = open_peer(place, files, engine, shape, options);
    if (peer.ok()) {
      all.peers.push_back(std::move(*peer));
    } else {
      all.left_out.push_back(engine + ": " + peer.status().message());
    }
  }
  return all;
}

Status prepare_peer(Peer& peer, int64_t batch) {
  auto answer = peer.process.ask({{"op", "prepare"}, {"batch", batch}});
  if (!answer.ok()) return answer.status().with_context(peer.engine);
  const auto settings = answer->find("settings");
  if (settings == answer->end() || !settings->is_string()) return said_otherwise(peer, "settings");
  peer.settings = settings->get<std::string>();
  return ok_status();
}

Result<PeerAgreement> compare_with_peer(Peer& peer, Session& session, const Dataset& images,
                                        int64_t batch, int64_t count) {
  count = std::max<int64_t>(1, std::min(count, peer.images) / batch) * batch;
  PARE_ASSIGN_OR_RETURN(Rotation rotation, Rotation::create(images, count, batch));
  auto answer = peer.process.ask({{"op", "scores"}, {"batch", batch}, {"count", count}});
  if (!answer.ok()) return answer.status().with_context(peer.engine);
  const auto rows = answer->find("scores");
  if (rows == answer->end() || !rows->is_array() || std::ssize(*rows) != count) {
    return said_otherwise(peer, "a row of scores for each image");
  }
  const auto classes = static_cast<size_t>(session.info().class_count);
  std::vector<float> scores(static_cast<size_t>(batch) * classes);
  PeerAgreement agreement;
  agreement.images = count;
  for (int64_t i = 0; i < count; ++i) {
    if (i % batch == 0) PARE_RETURN_IF_ERROR(session.run(rotation.next(), batch, scores));
    std::vector<double> theirs;
    if (!read_numbers((*rows)[static_cast<size_t>(i)], theirs) || theirs.size() != classes) {
      return said_otherwise(peer, "a finite score for each class");
    }
    const auto first = scores.begin() + (i % batch) * static_cast<int64_t>(classes);
    const std::vector<double> ours(first, first + static_cast<int64_t>(classes));
    if (top1(ours) == top1(theirs)) ++agreement.same_top1;
    double largest = 0;
    double apart = 0;
    for (size_t c = 0; c < classes; ++c) {
      largest = std::max({largest, std::abs(ours[c]), std::abs(theirs[c])});
      apart = std::max(apart, std::abs(ours[c] - theirs[c]));
    }
    if (apart > 0) agreement.difference = std::max(agreement.difference, apart / largest);
  }
  return agreement;
}

Result<std::vector<std::vector<float>>> peer_values(Peer& peer, const PeerFiles& files,
                                                    int64_t batch, int64_t first) {
  auto answer = peer.process.ask(
      {{"op", "values"}, {"batch", batch}, {"first", first}, {"into", files.values()}});
  if (!answer.ok()) return answer.status().with_context(peer.engine);
  const auto counts = answer->find("counts");
  std::vector<double> sizes;
  if (counts == answer->end() || !read_numbers(*counts, sizes)) {
    return said_otherwise(peer, "the number of elements of each output");
  }
  constexpr int64_t kMaxBytes = int64_t{4} << 30;
  PARE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(files.values(), kMaxBytes));
  std::vector<std::vector<float>> outputs;
  size_t at = 0;
  for (const double size : sizes) {
    const double left = static_cast<double>(bytes.size() - at) / sizeof(float);
    if (!(size >= 0 && size <= left)) return said_otherwise(peer, "as many elements as it counted");
    std::vector<float>& output = outputs.emplace_back(static_cast<size_t>(size));
    if (!output.empty())
      std::memcpy(output.data(), bytes.data() + at, output.size() * sizeof(float));
    at += output.size() * sizeof(float);
  }
  if (at != bytes.size()) return said_otherwise(peer, "no more elements than it counted");
  return outputs;
}

Result<PeerTimes> time_peer(Peer& peer, int64_t batch, int64_t runs, int64_t first) {
  auto answer =
      peer.process.ask({{"op", "time"}, {"batch", batch}, {"runs", runs}, {"first", first}});
  if (!answer.ok()) return answer.status().with_context(peer.engine);
  PeerTimes times;
  const auto samples = answer->find("samples_us");
  const auto peak = answer->find("peak_bytes");
  if (samples == answer->end() || !read_numbers(*samples, times.samples_us) ||
      std::ssize(times.samples_us) != runs || peak == answer->end() || !peak->is_number_integer()) {
    return said_otherwise(peer, "one time for each run and its memory");
  }
  times.peak_bytes = peak->get<int64_t>();
  const auto device = answer->find("device_us");
  if (device != answer->end() && !read_numbers(*device, times.device_us)) {
    return said_otherwise(peer, "numbers as the device's times");
  }
  return times;
}

}  // namespace pare
