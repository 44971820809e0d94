// Claims: which of several programs does a piece of work, where all they share is a folder, on one
// host or on many.
//
// A claim is a file that is made if it is not there (O_EXCL), which of many at once one alone can.
// Its holder touches it every few seconds. One that nobody has touched for a minute, by the watch
// of who looks at it (clocks of hosts differ), belongs to a program that died; on the same host the
// dead are known at once. It is retaken in two moves, so that of many again one alone succeeds and
// none takes a living claim: an heir file, named after the dead claim's token, is made with O_EXCL,
// and then the heir's own claim is renamed over the old one.
//
// File locks would do on one host; on cluster file systems they are often switched off.
#ifndef PARE_STUDY_CLAIMS_H_
#define PARE_STUDY_CLAIMS_H_

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "pare/status.h"

namespace pare {

struct ClaimTimes {
  std::chrono::milliseconds touch{5000};
  std::chrono::milliseconds dead{60000};
};

// Held while it lives.
class Claim {
 public:
  ~Claim();
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;

 private:
  friend class Claims;
  Claim(std::string path, std::string token, std::chrono::milliseconds touch);

  std::string path_;
  std::string token_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool released_ = false;
  std::thread toucher_;
};

class Claims {
 public:
  // `folder` exists.
  explicit Claims(std::string folder, const ClaimTimes& times = {});

  // Null while another program holds it; to be asked again.
  Result<std::unique_ptr<Claim>> take(const std::string& name);
  // Who held it when it was last asked for: "node7, process 4711".
  const std::string& holder() const { return holder_; }

 private:
  struct Seen {
    std::string token;
    int64_t touched_ns = 0;
    std::chrono::steady_clock::time_point since;
  };
  bool is_dead(const std::string& path, const std::string& text);
  Result<bool> inherit(const std::string& path, const std::string& dead, const std::string& mine);

  std::string folder_;
  ClaimTimes times_;
  std::string holder_;
  std::map<std::string, Seen> seen_;
};

}  // namespace pare

#endif  // PARE_STUDY_CLAIMS_H_
