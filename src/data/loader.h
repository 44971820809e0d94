// Loader: shuffled, augmented batches, prepared ahead by threads of its own.
//
// Batch b of epoch e is a pure function of (data, options, e, b): the order is a permutation drawn
// from (seed, epoch), augmentation is keyed by image (augment.h). So the stream is the same for any
// number of threads, and a resumed run needs only to say where it goes on.
//
// Of several programs that train together each has a loader with a share of its own
// (LoaderOptions::share): the batch of one program, its images dealt out, with the same draws.
// Image i and its partner count-1-i, with which mixup and CutMix mix it, go to the same share.
//
// Workers fill a ring of `prefetch` batches, each worker a whole batch at a time; next() takes them
// in order and gives the emptied buffers back. stats() says who waited for whom.
#ifndef PARE_DATA_LOADER_H_
#define PARE_DATA_LOADER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "pare/status.h"

#include "data/augment.h"
#include "data/dataset.h"

namespace pare {

// Share `index` of `count` shares, of every batch.
struct BatchShare {
  int index = 0;
  int count = 1;
};

// Which places of a batch of so many images make the share, in the order in which it holds them:
// half of them from the first half of the batch, then their partners. Shares differ by two at most.
std::vector<int64_t> places_of_share(int64_t images, const BatchShare& share);

struct LoaderOptions {
  int64_t batch_size = 256;
  uint64_t seed = 0;
  bool shuffle = true;
  bool drop_last = true;  // leave out the last, smaller batch of an epoch
  AugmentOptions augment;
  int threads = 1;    // workers
  int prefetch = 4;   // batches held ready
  int64_t epoch = 0;  // where to begin: a resumed run's position
  int64_t batch = 0;
  // false: only what is drawn, for pixels that are made elsewhere; no image is read.
  bool pixels = true;
  BatchShare share;  // the others' images are not read; batch_size is that of all shares together
};

struct Batch {
  int64_t epoch = 0;
  int64_t index = 0;            // of the batch in its epoch
  int64_t count = 0;            // images; 0 where a small batch has none for this share
  int64_t whole = 0;            // images of all shares together
  std::vector<uint8_t> pixels;  // count × C × H × W; empty if only draws were asked for
  std::vector<int32_t> labels;
  // mixup and CutMix: the target is (1 - weight) on the label and weight on the mixed label.
  // Without mixing the weights are 0 and the labels the same.
  MixedLabels mixed;
  std::vector<int64_t> images;  // positions in the data set
  // What was drawn for the images and the batch.
  std::vector<ImageDraw> draws;
  BatchDraw mix = {};

  // Of all shares' images.
  double part() const { return static_cast<double>(count) / static_cast<double>(whole); }
};

struct LoaderStats {
  double elapsed_s = 0;        // since the first call of next()
  double consumer_wait_s = 0;  // next() waiting for a batch, without the first one
  double worker_wait_s = 0;    // workers waiting for room, all together
  double worker_busy_s = 0;    // workers preparing batches, all together
  int64_t batches = 0;         // handed out
};

class Loader {
 public:
  // `data` must not be empty; a batch larger than it is cut to it. Errors: options out of range.
  static Result<std::unique_ptr<Loader>> create(std::shared_ptr<const Dataset> data,
                                                const LoaderOptions& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int64_t batches_per_epoch() const;
  // The next batch, epoch after epoch without end. The old contents of `batch` are recycled. An
  // image that cannot be read is the error of the batch it belongs to.
  Status next(Batch& batch);
  LoaderStats stats() const;

 private:
  class Impl;
  explicit Loader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pare

#endif  // PARE_DATA_LOADER_H_
