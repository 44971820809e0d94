// Peers on the same model and images as ours: opened, prepared for a batch size, their answers
// compared with ours, and timed (measure_latency lets them and our sessions take turns).
#ifndef PARE_MEASURE_PEERS_H_
#define PARE_MEASURE_PEERS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pare/session.h"
#include "pare/status.h"

#include "data/dataset.h"
#include "graph/graph.h"
#include "measure/peer_process.h"

namespace pare {

struct Peer {
  std::string engine;    // "onnxruntime"
  std::string version;   // "1.32.0"
  std::string settings;  // of the batch size it was last prepared for
  PeerProcess process;
  int64_t images = 0;  // it goes round
};

struct Peers {
  std::vector<Peer> peers;
  std::vector<std::string> left_out;  // "pytorch: PyTorch runs no int8 ONNX file"
};

struct PeerOptions {
  std::vector<std::string> engines = {"onnxruntime", "openvino", "pytorch"};
  std::string precision;  // that they compute in: "float32", "bfloat16", "int8"
  int threads = 1;
  int64_t images = 256;  // the first so many of the set, as measure_latency takes them
  int64_t batch = 1;     // the largest that will be asked for
};

// What peers run instead of a model's own file, in a folder of its own: an ONNX file, and the
// images in one piece. Removed with this object.
class PeerFiles {
 public:
  static Result<PeerFiles> create(const Graph& graph, const Dataset& images,
                                  const PeerOptions& options);
  std::string model() const { return *folder_ + "/model.onnx"; }
  std::string images() const { return *folder_ + "/images.bin"; }
  std::string values() const { return *folder_ + "/values.bin"; }  // that a peer writes
  int64_t image_count() const { return image_count_; }

 private:
  PeerFiles(std::shared_ptr<const std::string> folder, int64_t image_count)
      : folder_(std::move(folder)), image_count_(image_count) {}
  std::shared_ptr<const std::string> folder_;
  int64_t image_count_ = 0;
};

// Opens every engine that can run the model; the others are left out by name.
Result<Peers> open_peers(const PeerPlace& place, const PeerFiles& files, const ImageShape& shape,
                         const PeerOptions& options);
// Compiles for a batch size where the engine does that, and chooses its faster setting.
Status prepare_peer(Peer& peer, int64_t batch);

struct PeerAgreement {
  int64_t images = 0;
  int64_t same_top1 = 0;
  double difference = 0;  // largest, relative to the image's largest score
};
// The peer's scores of the first images beside ours: `count` of them, as far as the peer has so
// many, rounded down to whole batches, and one batch at least.
Result<PeerAgreement> compare_with_peer(Peer& peer, Session& session, const Dataset& images,
                                        int64_t batch, int64_t count);

// All outputs of the batch that begins at image `first`, in the order of the graph's, as floats;
// handed over through a file in the folder of `files`. kUnsupported from engines that show none.
Result<std::vector<std::vector<float>>> peer_values(Peer& peer, const PeerFiles& files,
                                                    int64_t batch, int64_t first);

struct PeerTimes {
  std::vector<double> samples_us;
  std::vector<double> device_us;  // of an engine on a GPU, without copies; else empty
  int64_t peak_bytes = 0;
};
// `runs` batches timed by the peer itself after warming up; the first begins at image `first`.
Result<PeerTimes> time_peer(Peer& peer, int64_t batch, int64_t runs, int64_t first);

}  // namespace pare

#endif  // PARE_MEASURE_PEERS_H_
