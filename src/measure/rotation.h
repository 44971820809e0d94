// Rotation: different images handed out batch after batch, round and round, read beforehand.
#ifndef PARE_MEASURE_ROTATION_H_
#define PARE_MEASURE_ROTATION_H_

#include <cstdint>
#include <span>
#include <vector>

#include "pare/status.h"

#include "data/dataset.h"

namespace pare {

class Rotation {
 public:
  // Holds the first max(images, batch) of the set, all of them if it has fewer. A batch larger than
  // the set repeats images within it.
  static Result<Rotation> create(const Dataset& data, int64_t images, int64_t batch);

  int64_t images() const { return images_; }
  // The next `batch` images; they lie one after the other.
  std::span<const uint8_t> next();

 private:
  int64_t images_ = 0;
  int64_t batch_ = 0;
  int64_t image_bytes_ = 0;
  int64_t at_ = 0;
  std::vector<uint8_t> pixels_;  // images_ + batch_ - 1 images: the first ones again at the end
};

}  // namespace pare

#endif  // PARE_MEASURE_ROTATION_H_
