// RankPulse: who of the programs that train together is still there, and which failed first.
//
// A thread of each rank writes a number to the common store once a second and reads everybody's.
// One that does not change for `silence` belongs to a rank that is dead, stopped or cut off: that
// is reported, and every rank learns it within a second. The first report stays; so all name the
// same culprit, not each other.
#ifndef PARE_TRAIN_RANK_PULSE_H_
#define PARE_TRAIN_RANK_PULSE_H_

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "pare/status.h"

#include "train/torch.h"

namespace c10d {
class Store;
}

namespace pare {

struct PulseTimes {
  std::chrono::milliseconds beat{1000};
  // A busy host may keep a thread waiting for seconds.
  std::chrono::milliseconds silence{30000};
  // Once a connection broke, a rank that is silent for so long is why.
  std::chrono::milliseconds silence_after_break{6000};
};

class RankPulse {
 public:
  // Before any rank makes its pulse: rank 0 calls this.
  static void prepare(c10d::Store& store);
  // `store` is this one's alone: its calls may wait. `names`: of all ranks, for messages;
  // `keeper`: who keeps the store. Exceptions of the store are the caller's here.
  RankPulse(c10::intrusive_ptr<c10d::Store> store, int rank, std::vector<std::string> names,
            std::string keeper, const PulseTimes& times = {});
  ~RankPulse();
  RankPulse(const RankPulse&) = delete;
  RankPulse& operator=(const RankPulse&) = delete;

  // Tells all ranks that this one failed, unless a failure is known already.
  void report(const std::string& what);
  // The first failure of any rank, as far as it is known here.
  std::optional<std::string> failure();
  // After a connection broke: waits until it is known why, at most for `silence` and some beats.
  std::optional<std::string> find_failure();
  // `act` is called once, by the pulse's thread, when a failure is known.
  void on_failure(std::function<void()> act);
  // From now on nobody misses this rank.
  void leave();

 private:
  struct Seen {
    std::string beat;
    std::chrono::steady_clock::time_point changed;
  };
  void run();
  void beat_once();
  void act_on_failure();
  void note_failure(const std::string& what);
  std::optional<std::string> silent_rank(std::chrono::milliseconds silence) const;

  c10::intrusive_ptr<c10d::Store> store_;
  int rank_;
  std::vector<std::string> names_;
  std::string keeper_;
  PulseTimes times_;
  std::vector<std::string> keys_;  // of all pulses, then of the failure

  mutable std::mutex mutex_;  // of what follows; never held while the store is asked
  std::condition_variable wake_;
  bool leaving_ = false;
  std::string unreported_;
  std::optional<std::string> failure_;
  std::function<void()> on_failure_;
  std::vector<Seen> seen_;
  std::chrono::steady_clock::time_point answered_;  // the store, last
  int64_t beats_ = 0;                               // the thread's own
  std::thread thread_;
};

}  // namespace pare

#endif  // PARE_TRAIN_RANK_PULSE_H_
