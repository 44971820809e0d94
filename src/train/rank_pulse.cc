#include "train/rank_pulse.h"

#include <fmt/format.h>

#include <torch/csrc/distributed/c10d/Store.hpp>
#include <utility>

#include "train/tensors.h"

namespace pare {
namespace {

using Clock = std::chrono::steady_clock;
using Bytes = std::vector<uint8_t>;

constexpr const char* kFailureKey = "failure";
constexpr const char* kNoFailure = "-";
constexpr const char* kLeft = "left";

Bytes to_bytes(const std::string& text) { return {text.begin(), text.end()}; }
std::string to_text(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }
std::string pulse_key(size_t rank) { return fmt::format("pulse/{}", rank); }

}  // namespace

void RankPulse::prepare(c10d::Store& store) { store.set(kFailureKey, to_bytes(kNoFailure)); }

RankPulse::RankPulse(c10::intrusive_ptr<c10d::Store> store, int rank,
                     std::vector<std::string> names, std::string keeper, const PulseTimes& times)
    : store_(std::move(store)),
      rank_(rank),
      names_(std::move(names)),
      keeper_(std::move(keeper)),
      times_(times),
      seen_(names_.size()),
      answered_(Clock::now()) {
  for (size_t r = 0; r < names_.size(); ++r) keys_.push_back(pulse_key(r));
  store_->set(pulse_key(static_cast<size_t>(rank)), to_bytes("0"));
  store_->wait(keys_);
  keys_.emplace_back(kFailureKey);
  for (Seen& seen : seen_) seen.changed = Clock::now();
  thread_ = std::thread([this] { run(); });
}

RankPulse::~RankPulse() { leave(); }

void RankPulse::leave() {
  {
    const std::lock_guard lock(mutex_);
    leaving_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void RankPulse::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    const bool leaving = leaving_;
    lock.unlock();
    try {
      beat_once();
      if (leaving) store_->set(pulse_key(static_cast<size_t>(rank_)), to_bytes(kLeft));
    } catch (const std::exception& error) {
      note_failure(fmt::format("{} is gone: the store that it kept does not answer ({})", keeper_,
                               torch_error_line(error)));
      act_on_failure();
      return;
    }
    act_on_failure();
    lock.lock();
    if (leaving) return;
    wake_.wait_for(lock, times_.beat, [this] { return leaving_ || !unreported_.empty(); });
  }
}

void RankPulse::beat_once() {
  std::string report;
  {
    const std::lock_guard lock(mutex_);
    report = std::exchange(unreported_, {});
  }
  if (!report.empty()) store_->compareSet(kFailureKey, to_bytes(kNoFailure), to_bytes(report));
  store_->set(pulse_key(static_cast<size_t>(rank_)), to_bytes(std::to_string(++beats_)));
  const std::vector<Bytes> values = store_->multiGet(keys_);
  std::optional<std::string> silent;
  {
    const std::lock_guard lock(mutex_);
    answered_ = Clock::now();
    for (size_t r = 0; r < seen_.size(); ++r) {
      const std::string beat = to_text(values[r]);
      // Who left is never missed.
      if (beat != seen_[r].beat || beat == kLeft) seen_[r] = {beat, Clock::now()};
    }
    const std::string failure = to_text(values.back());
    if (failure != kNoFailure) failure_ = failure;
    if (!failure_) silent = silent_rank(times_.silence);
    if (silent) unreported_ = *silent;
  }
}

void RankPulse::on_failure(std::function<void()> act) {
  const std::lock_guard lock(mutex_);
  on_failure_ = std::move(act);
}

void RankPulse::act_on_failure() {
  if (!failure()) return;
  std::function<void()> act;
  {
    const std::lock_guard lock(mutex_);
    act = std::exchange(on_failure_, nullptr);
  }
  if (act) act();
}

void RankPulse::note_failure(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = what;
}

// Called under the mutex.
std::optional<std::string> RankPulse::silent_rank(std::chrono::milliseconds silence) const {
  const Clock::time_point now = Clock::now();
  std::optional<size_t> first;
  for (size_t r = 0; r < seen_.size(); ++r) {
    if (static_cast<int>(r) == rank_ || now - seen_[r].changed < silence) continue;
    if (!first || seen_[r].changed < seen_[*first].changed) first = r;
  }
  if (!first) return std::nullopt;
  const double seconds = std::chrono::duration<double>(now - seen_[*first].changed).count();
  return fmt::format("{} is dead or cut off: no sign of life for {:.0f} s", names_[*first],
                     seconds);
}

void RankPulse::report(const std::string& what) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return;
    unreported_ = what;
  }
  wake_.notify_all();
}

std::optional<std::string> RankPulse::failure() {
  const std::lock_guard lock(mutex_);
  // The thread waits for a store whose host is switched off: no connection breaks then.
  if (!failure_ && Clock::now() - answered_ > times_.silence) {
    failure_ = keeper_ + " is dead or cut off: the store that it kept does not answer";
  }
  return failure_;
}

std::optional<std::string> RankPulse::find_failure() {
  const Clock::time_point end = Clock::now() + times_.silence + 3 * times_.beat;
  while (Clock::now() < end) {
    if (const auto known = failure()) return known;
    std::optional<std::string> silent;
    {
      const std::lock_guard lock(mutex_);
      silent = silent_rank(times_.silence_after_break);
    }
    if (silent) report(*silent);
    constexpr std::chrono::milliseconds kLook{100};
    std::this_thread::sleep_for(kLook);
  }
  return std::nullopt;
}

}  // namespace pare
