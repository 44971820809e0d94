#include "data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/rng.h"

namespace pare {
namespace {

using Clock = std::chrono::steady_clock;
using Order = std::shared_ptr<const std::vector<int64_t>>;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

std::vector<int64_t> places_of_share(int64_t images, const BatchShare& share) {
  const int64_t pairs = images / 2;
  const int64_t begin = pairs * share.index / share.count;
  const int64_t end = pairs * (share.index + 1) / share.count;
  std::vector<int64_t> places;
  for (int64_t i = begin; i < end; ++i) places.push_back(i);
  // The middle one of an odd number has no partner.
  if (images % 2 != 0 && share.index == 0) places.push_back(pairs);
  for (int64_t i = end; i-- > begin;) places.push_back(images - 1 - i);
  return places;
}

class Loader::Impl {
 public:
  Impl(std::shared_ptr<const Dataset> data, const LoaderOptions& options)
      : data_(std::move(data)),
        options_(options),
        shape_(data_->image_shape()),
        work_(pixel_work(options.augment, shape_)) {
    options_.batch_size = std::min(options_.batch_size, data_->size());
    batches_per_epoch_ = options_.drop_last
                             ? data_->size() / options_.batch_size
                             : (data_->size() + options_.batch_size - 1) / options_.batch_size;
    next_made_ = next_taken_ = options_.epoch * batches_per_epoch_ + options_.batch;
    slots_.resize(static_cast<size_t>(std::max(options_.prefetch, options_.threads)));
    for (int t = 0; t < options_.threads; ++t) workers_.emplace_back([this] { work(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    room_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  int64_t batches_per_epoch() const { return batches_per_epoch_; }

  Status next(Batch& batch) {
    std::unique_lock lock(mutex_);
    Slot& slot = slot_of(next_taken_);
    const auto begin = Clock::now();
    ready_.wait(lock, [&] { return slot.ready; });
    if (stats_.batches == 0) {
      first_taken_ = Clock::now();
    } else {
      stats_.consumer_wait_s += seconds_since(begin);
    }
    ++stats_.batches;
    std::swap(batch, slot.batch);
    slot.ready = false;
    Status status = std::exchange(slot.status, ok_status());
    ++next_taken_;
    lock.unlock();
    room_.notify_one();
    return status;
  }

  LoaderStats stats() const {
    const std::lock_guard lock(mutex_);
    LoaderStats stats = stats_;
    if (stats.batches > 0) stats.elapsed_s = seconds_since(first_taken_);
    return stats;
  }

 private:
  struct Slot {
    bool ready = false;
    Batch batch;
    Status status;
  };

  Slot& slot_of(int64_t number) { return slots_[static_cast<size_t>(number) % slots_.size()]; }

  // The order of an epoch; kept for the epochs that are being worked on. Called under the mutex.
  Order order_of(int64_t epoch) {
    Order& order = orders_[epoch];
    if (order == nullptr) {
      Rng rng(options_.seed, RngPurpose::kShuffle, static_cast<uint64_t>(epoch));
      order = std::make_shared<const std::vector<int64_t>>(rng.permutation(data_->size()));
    }
    Order result = order;
    const int64_t oldest = next_taken_ / batches_per_epoch_;
    orders_.erase(orders_.begin(), orders_.lower_bound(oldest));
    return result;
  }

  void work() {
    std::vector<uint8_t> image(static_cast<size_t>(shape_.size()));
    std::unique_lock lock(mutex_);
    while (true) {
      const auto begin = Clock::now();
      room_.wait(lock, [&] {
        return stop_ || next_made_ - next_taken_ < static_cast<int64_t>(slots_.size());
      });
      stats_.worker_wait_s += seconds_since(begin);
      if (stop_) return;
      const int64_t number = next_made_++;
      Slot& slot = slot_of(number);
      const int64_t epoch = number / batches_per_epoch_;
      const Order order = options_.shuffle ? order_of(epoch) : nullptr;
      lock.unlock();
      const auto work_begin = Clock::now();
      slot.batch.epoch = epoch;
      slot.batch.index = number % batches_per_epoch_;
      slot.status = fill(slot.batch, order, image);
      lock.lock();
      stats_.worker_busy_s += seconds_since(work_begin);
      slot.ready = true;
      ready_.notify_one();
    }
  }

  Status fill(Batch& batch, const Order& order, std::vector<uint8_t>& image) const {
    const int64_t first = batch.index * options_.batch_size;
    batch.whole = std::min(options_.batch_size, data_->size() - first);
    const std::vector<int64_t> places = places_of_share(batch.whole, options_.share);
    batch.count = static_cast<int64_t>(places.size());
    const auto count = static_cast<size_t>(batch.count);
    batch.images.resize(count);
    batch.labels.resize(count);
    batch.pixels.resize(options_.pixels ? count * image.size() : 0);
    batch.draws.resize(count);
    for (size_t i = 0; i < count; ++i) {
      const int64_t at = first + places[i];
      const int64_t position = order == nullptr ? at : (*order)[static_cast<size_t>(at)];
      batch.images[i] = position;
      batch.labels[i] = data_->label(position);
      batch.draws[i] = draw_image(options_.augment, {options_.seed, batch.epoch, position}, shape_);
      if (!options_.pixels) continue;
      PARE_RETURN_IF_ERROR(data_->read_image(position, image));
      augment_image(work_, batch.draws[i], shape_, image,
                    std::span(batch.pixels).subspan(i * image.size(), image.size()));
    }
    batch.mix = draw_batch(options_.augment, {options_.seed, batch.epoch, batch.index}, shape_);
    mix_pixels(batch.mix, shape_, batch.pixels);
    mix_labels(batch.mix, batch.labels, batch.mixed);
    return ok_status();
  }

  std::shared_ptr<const Dataset> data_;
  LoaderOptions options_;
  ImageShape shape_;
  PixelWork work_;
  int64_t batches_per_epoch_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::condition_variable ready_;
  std::vector<Slot> slots_;  // batch b lies in slot b mod size
  int64_t next_made_ = 0;    // counted from the first batch of epoch 0
  int64_t next_taken_ = 0;
  bool stop_ = false;
  std::map<int64_t, Order> orders_;
  LoaderStats stats_;
  Clock::time_point first_taken_;
  std::vector<std::thread> workers_;
};

Result<std::unique_ptr<Loader>> Loader::create(std::shared_ptr<const Dataset> data,
                                               const LoaderOptions& options) {
  if (data == nullptr || data->size() == 0) return invalid_argument("the loader has no images");
  if (options.batch_size < 1 || options.threads < 1 || options.prefetch < 1) {
    return invalid_argument(fmt::format(
        "loader: batch size {}, {} threads, {} batches ahead: expected at least 1 of each",
        options.batch_size, options.threads, options.prefetch));
  }
  if (options.share.count < 1 || options.share.index < 0 ||
      options.share.index >= options.share.count) {
    return invalid_argument(
        fmt::format("loader: no share {} of {}", options.share.index, options.share.count));
  }
  constexpr int64_t kMaxEpoch = int64_t{1} << 24;  // what a random number's key has room for
  if (options.epoch < 0 || options.epoch >= kMaxEpoch || options.batch < 0) {
    return invalid_argument(
        fmt::format("loader: cannot begin at epoch {}, batch {}", options.epoch, options.batch));
  }
  PARE_RETURN_IF_ERROR(check_augment(options.augment, data->image_shape()));
  return std::unique_ptr<Loader>(new Loader(std::make_unique<Impl>(std::move(data), options)));
}

Loader::Loader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Loader::~Loader() = default;
int64_t Loader::batches_per_epoch() const { return impl_->batches_per_epoch(); }
Status Loader::next(Batch& batch) { return impl_->next(batch); }
LoaderStats Loader::stats() const { return impl_->stats(); }

}  // namespace pare
