// A peer (ONNX Runtime, OpenVINO, PyTorch) as a co-process: JSON lines to and from peers/peer.py,
// which says what they are. It is at work only while it is being asked.
#ifndef PARE_MEASURE_PEER_PROCESS_H_
#define PARE_MEASURE_PEER_PROCESS_H_

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>

#include "pare/status.h"

namespace pare {

// Where the peers are: the script and the Python of the virtual environment that peers/setup makes.
struct PeerPlace {
  std::string python;
  std::string script;
};

// PARE_PEERS (a folder that holds peer.py) and PARE_PEERS_PYTHON where they are set; else peers/
// and build/peers/ of the source tree that this folder or this program lies in. kNotFound says how
// to install them.
Result<PeerPlace> find_peers();

class PeerProcess {
 public:
  static Result<PeerProcess> start(const PeerPlace& place);
  PeerProcess(PeerProcess&& other) noexcept;
  PeerProcess& operator=(PeerProcess&& other) noexcept;
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;
  ~PeerProcess();  // ends the process

  // One request, one answer. kUnsupported with the peer's own words when it refuses; kInternal when
  // the process ended, said something else, or kept silent for `seconds`.
  Result<nlohmann::json> ask(const nlohmann::json& request, double seconds = 600);

 private:
  PeerProcess(pid_t pid, int socket) : pid_(pid), socket_(socket) {}
  Status send_line(const std::string& line) const;
  Result<std::string> read_line(double seconds);
  void end();

  pid_t pid_ = -1;
  int socket_ = -1;
  std::string buffer_;  // read, but not yet a whole line
};

}  // namespace pare

#endif  // PARE_MEASURE_PEER_PROCESS_H_
