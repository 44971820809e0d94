#include "train/gradient_sum.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>

namespace pare {

class GradientSum::Hook : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientSum& sum, size_t parameter) : sum_(sum), parameter_(parameter) {}
  void operator()(const torch::autograd::Variable&) override { sum_.arrived(parameter_); }

 private:
  GradientSum& sum_;
  size_t parameter_;
};

GradientSum::GradientSum(Ranks& ranks, const TorchExecutor& network, const BucketSizes& sizes)
    : ranks_(ranks) {
  for (const TorchExecutor::Named& p : network.parameters()) {
    read_.push_back(p.copy.defined() ? p.copy : p.value);
  }
  make_buckets(sizes);
  for (size_t i = 0; i < read_.size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(read_[i], std::make_unique<Hook>(*this, i));
  }
}

GradientSum::~GradientSum() {
  for (const at::Tensor& weight : read_) {
    torch::autograd::impl::set_post_acc_grad_hooks(weight, nullptr);
  }
}

void GradientSum::make_buckets(const BucketSizes& sizes) {
  bucket_of_.resize(read_.size());
  member_of_.resize(read_.size());
  int64_t bytes = 0;
  for (size_t i = read_.size(); i-- > 0;) {
    const at::Tensor& w = read_[i];
    const int64_t room = buckets_.size() <= 1 ? sizes.first_bytes : sizes.bucket_bytes;
    const bool fits = !buckets_.empty() && bytes + static_cast<int64_t>(w.nbytes()) <= room &&
                      read_[buckets_.back().members[0]].scalar_type() == w.scalar_type();
    if (!fits) {
      buckets_.emplace_back();
      bytes = 0;
    }
    Bucket& bucket = buckets_.back();
    bucket_of_[i] = buckets_.size() - 1;
    member_of_[i] = bucket.members.size();
    bucket.members.push_back(i);
    bucket.offsets.push_back(bucket.elements);
    bucket.elements += w.numel();
    bytes += static_cast<int64_t>(w.nbytes());
  }
  for (Bucket& bucket : buckets_) {
    if (bucket.members.size() == 1) continue;
    const at::Tensor& w = read_[bucket.members[0]];
    bucket.memory = at::zeros({bucket.elements}, w.options().requires_grad(false));
  }
}

// The part of the bucket's memory that belongs to a member, lying as its weight does.
at::Tensor GradientSum::place_of(const Bucket& bucket, size_t member) const {
  const at::Tensor& w = read_[bucket.members[member]];
  return bucket.memory.as_strided(w.sizes(), w.strides(), bucket.offsets[member]);
}

void GradientSum::begin() {
  active_ = true;
  started_ = 0;
  for (Bucket& bucket : buckets_) {
    bucket.missing = bucket.members.size();
    bucket.sum.reset();
  }
}

void GradientSum::arrived(size_t parameter) {
  if (!active_) return;
  const at::NoGradGuard no_grad;
  Bucket& bucket = buckets_[bucket_of_[parameter]];
  const at::Tensor& w = read_[parameter];
  at::Tensor& gradient = w.mutable_grad();
  if (bucket.memory.defined()) {
    const at::Tensor place = place_of(bucket, member_of_[parameter]);
    place.copy_(gradient);
    gradient = place;
  } else if (gradient.strides() != w.strides()) {
    gradient = at::empty_like(w, gradient.options()).copy_(gradient);
  }
  --bucket.missing;
  start_full();
}

void GradientSum::start_full() {
  while (started_ < buckets_.size() && buckets_[started_].missing == 0) start(buckets_[started_++]);
}

void GradientSum::start(Bucket& bucket) {
  if (bucket.missing == bucket.members.size())
    return;  // nor has it on any other rank: they run the same graph
  const at::Tensor& what =
      bucket.memory.defined() ? bucket.memory : read_[bucket.members[0]].grad();
  // What did not arrive must not be what the last step left there.
  for (size_t m = 0; bucket.missing > 0 && m < bucket.members.size(); ++m) {
    if (!read_[bucket.members[m]].grad().defined()) place_of(bucket, m).zero_();
  }
  traffic_.bytes += static_cast<int64_t>(what.nbytes());
  bucket.sum = ranks_.start_sum(what);
}

Status GradientSum::finish() {
  const double backward_end = steady_now_s();
  active_ = false;
  {
    const at::NoGradGuard no_grad;
    while (started_ < buckets_.size()) start(buckets_[started_++]);
  }
  for (Bucket& bucket : buckets_) {
    if (bucket.sum != nullptr) PARE_RETURN_IF_ERROR(ranks_.finish(*bucket.sum));
  }
  ++traffic_.steps;
  count_time(backward_end);
  return ok_status();
}

void GradientSum::count_time(double backward_end) {
  double covered = 0;  // until when the wire's time was counted
  for (const Bucket& bucket : buckets_) {
    if (bucket.sum == nullptr) continue;
    const RankSumTimes times = times_of(*bucket.sum);
    if (!times.end) continue;
    traffic_.busy_s += std::max(0.0, *times.end - std::max(covered, times.begin));
    covered = std::max(covered, *times.end);
  }
  traffic_.exposed_s += std::max(0.0, covered - backward_end);
}

}  // namespace pare
