// GradientSum: adds the gradients of all ranks up while the backward pass goes on.
//
// Weights are dealt into buckets of about 25 MB in the order in which their gradients come, from
// the last layer to the first; the first bucket is 1 MB, so that the wire has something to do early
// (Li et al. 2020, "PyTorch Distributed: experiences on accelerating data parallel training", 3.2).
// A hook behind each weight lays its gradient into its bucket, and a bucket that is full is on its
// way at once. A weight that fills a bucket alone is summed where its gradient lies, without a
// copy. Buckets begin in the same order on all ranks.
//
// What each rank gives is the gradient of its part of the loss, weighted by its share of the batch,
// so the sum is the gradient of the whole batch. All ranks get the same bits.
#ifndef PARE_TRAIN_GRADIENT_SUM_H_
#define PARE_TRAIN_GRADIENT_SUM_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "pare/status.h"

#include "train/executor.h"
#include "train/ranks.h"
#include "train/torch.h"
#include "train/train.h"

namespace pare {

// When a bucket is full.
struct BucketSizes {
  int64_t first_bytes = int64_t{1} << 20;
  int64_t bucket_bytes = int64_t{25} << 20;
};

class GradientSum {
 public:
  // Both must outlive it.
  GradientSum(Ranks& ranks, const TorchExecutor& network, const BucketSizes& sizes = {});
  ~GradientSum();
  GradientSum(const GradientSum&) = delete;
  GradientSum& operator=(const GradientSum&) = delete;

  // Before the backward pass after which the gradients shall be sums; passes before it gather.
  void begin();
  // After it: waits. A weight that no rank's loss reaches stays without gradient.
  Status finish();

  const GradientTraffic& traffic() const { return traffic_; }

 private:
  struct Bucket {
    std::vector<size_t> members;
    std::vector<int64_t> offsets;  // of the members, in elements
    int64_t elements = 0;
    at::Tensor memory;   // undefined for a single member, whose gradient itself is sent
    size_t missing = 0;  // gradients that have not arrived
    std::shared_ptr<RankSum> sum;
  };
  class Hook;
  void make_buckets(const BucketSizes& sizes);
  void arrived(size_t parameter);
  void start_full();
  void start(Bucket& bucket);
  at::Tensor place_of(const Bucket& bucket, size_t member) const;
  void count_time(double backward_end);

  Ranks& ranks_;
  std::vector<at::Tensor> read_;  // what the forward pass reads of each weight
  std::vector<Bucket> buckets_;
  std::vector<size_t> bucket_of_;
  std::vector<size_t> member_of_;  // its number in the bucket
  size_t started_ = 0;             // buckets
  bool active_ = false;
  GradientTraffic traffic_;
};

}  // namespace pare

#endif  // PARE_TRAIN_GRADIENT_SUM_H_
