#include "measure/rotation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace pare {

Result<Rotation> Rotation::create(const Dataset& data, int64_t images, int64_t batch) {
  constexpr int64_t kMaxBytes = int64_t{8} << 30;
  if (data.size() < 1 || images < 1 || batch < 1) {
    return invalid_argument(fmt::format("{} of {} images in batches of {}: expected 1 or more",
                                        images, data.size(), batch));
  }
  Rotation r;
  r.images_ = std::min(data.size(), std::max(images, batch));
  r.batch_ = batch;
  r.image_bytes_ = data.image_shape().size();
  const int64_t held = r.images_ + batch - 1;
  if (held > kMaxBytes / std::max<int64_t>(1, r.image_bytes_)) {
    return out_of_memory(fmt::format("{} images of {} bytes: at most {} bytes are kept in rotation",
                                     held, r.image_bytes_, kMaxBytes));
  }
  r.pixels_.resize(static_cast<size_t>(held * r.image_bytes_));
  const auto at = [&r](int64_t i) { return r.pixels_.data() + i * r.image_bytes_; };
  PARE_RETURN_IF_ERROR(
      read_images(data, 0, {at(0), static_cast<size_t>(r.images_ * r.image_bytes_)}));
  for (int64_t i = r.images_; i < held; ++i) {
    std::memcpy(at(i), at(i - r.images_), static_cast<size_t>(r.image_bytes_));
  }
  return r;
}

std::span<const uint8_t> Rotation::next() {
  const std::span<const uint8_t> batch(pixels_.data() + at_ * image_bytes_,
                                       static_cast<size_t>(batch_ * image_bytes_));
  at_ = (at_ + batch_) % images_;
  return batch;
}

}  // namespace pare
