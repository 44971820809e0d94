// Ranks: the programs that train one network together, each on its share of every batch, over
// LibTorch's c10d: Gloo between CPUs, NCCL between GPUs.
//
// All ranks run the same code and call the same collective functions in the same order. Each of
// those either serves all ranks or fails on all: when one rank dies, fails or hangs, the others
// learn it within a minute (rank_pulse.h) and name it. Only rank 0 writes files and speaks.
//
// In the trainer a null pointer stands for one program alone, which meets nothing of this.
#ifndef PARE_TRAIN_RANKS_H_
#define PARE_TRAIN_RANKS_H_

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "pare/status.h"

#include "data/loader.h"
#include "train/rank_place.h"
#include "train/rank_pulse.h"
#include "train/torch.h"

namespace pare {

class GpuTools;

struct RanksOptions {
  std::chrono::milliseconds join{300000};  // the slowest rank may come so much later
  PulseTimes pulse;
};

// A sum on its way.
struct RankSum;

class Ranks {
 public:
  // Meets the other ranks. Errors name those that did not come.
  static Result<std::unique_ptr<Ranks>> join(const RankPlace& place,
                                             const RanksOptions& options = {});
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const { return place_.rank; }
  int size() const { return place_.size; }
  bool leads() const { return place_.rank == 0; }
  const RankPlace& place() const { return place_; }
  BatchShare share() const { return {.index = place_.rank, .count = place_.size}; }
  // "rank 2 of 4 on node7"
  const std::string& name() const { return name_; }
  // Ranks that may use the same cores as this one, itself among them: where a launcher binds each
  // to cores of its own, 1.
  int sharing_cores() const { return sharing_cores_; }

  // From now on tensors on GPUs are summed by NCCL, which our CUDA part knows.
  Status use_gpu(GpuTools& tools);

  // Collective, and done when they return (for a GPU's tensors: in the order of its stream). A
  // tensor must lie densely in memory, and alike on all ranks.
  Status sum(const at::Tensor& tensor);  // in place, the same bits on all ranks
  Status copy_from_leader(const at::Tensor& tensor);
  Result<std::string> text_from_leader(const std::string& text);
  Result<int64_t> largest(int64_t value);
  Status meet();
  // An error on all ranks but the first where `mine` is not rank 0's. `what`: "training images".
  Status agree(const std::string& what, const std::string& mine);

  // A sum in the background, on connections of its own, so that small ones need not queue behind.
  // Begun in the same order on all ranks. `tensor` belongs to it until it is finished.
  std::shared_ptr<RankSum> start_sum(const at::Tensor& tensor);
  Status finish(RankSum& sum);

  // Wishes of the ranks as bits, gathered while they work: what anybody wished is the answer for
  // all. One vote at a time.
  void begin_vote(int64_t wishes);
  Result<int64_t> end_vote();

  // The last call, with how this rank's work ended; says it to the others, or why they ended it.
  // Ok and kCancelled, which all ranks reach together, wait for all; an error gets this rank's
  // name, or is one that names the rank at fault.
  Status close(const Status& outcome);

 private:
  struct Groups;
  Ranks(RankPlace place, const RanksOptions& options);
  Status meet_at_store();
  std::string ask_for_session();
  Status welcome(const std::vector<std::string>& keys);
  Status read_roster(const std::vector<std::string>& keys);
  Status connect();
  Status wait(RankSum& sum);
  Status broken(const std::string& what);
  void say_good_bye(bool failed);

  RankPlace place_;
  RanksOptions options_;
  std::string name_;
  std::string session_;  // the prefix of all keys of this start
  std::vector<std::string> names_;
  int sharing_cores_ = 1;
  std::unique_ptr<Groups> groups_;
  std::unique_ptr<RankPulse> pulse_;
  bool broken_ = false;  // a collective failed: connections are of no use any more
  bool closed_ = false;
};

// This rank's share of each batch: all of it without ranks.
BatchShare share_of(const Ranks* ranks);
// The cores that this rank may count on, 1 at least: all without ranks.
int cores_of(const Ranks* ranks);
// Whether any rank wishes it; a collective call. Without ranks `wish`.
Result<bool> wish_of_any(Ranks* ranks, bool wish);

// A sum's time in the background: seconds of the steady clock, by which it was begun and done. The
// end is missing for a GPU's, whose time is not the CPU's.
struct RankSumTimes {
  double begin = 0;
  std::optional<double> end;
};
RankSumTimes times_of(const RankSum& sum);
double steady_now_s();

}  // namespace pare

#endif  // PARE_TRAIN_RANKS_H_
