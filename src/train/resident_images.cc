#include "train/resident_images.h"

#include <mutex>

namespace pare {

Result<std::optional<ResidentImages>> make_resident(const Dataset& data, at::Device device,
                                                    int64_t room_bytes) {
  const ImageShape shape = data.image_shape();
  if (data.size() * shape.size() > room_bytes) return std::optional<ResidentImages>();
  const at::Tensor pixels =
      at::empty({data.size(), shape.channels, shape.height, shape.width}, at::kByte);
  const at::Tensor labels = at::empty({data.size()}, at::kLong);
  auto* bytes = pixels.mutable_data_ptr<uint8_t>();
  auto* classes = labels.mutable_data_ptr<int64_t>();
  const auto image_bytes = static_cast<size_t>(shape.size());
  std::mutex mutex;
  Status first_error;
  constexpr int64_t kImagesAtOnce = 256;
  at::parallel_for(0, data.size(), kImagesAtOnce, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Status read =
          data.read_image(i, {bytes + static_cast<size_t>(i) * image_bytes, image_bytes});
      classes[i] = data.label(i);
      if (read.ok()) continue;
      const std::lock_guard lock(mutex);
      if (first_error.ok()) first_error = read;
      return;
    }
  });
  PARE_RETURN_IF_ERROR(first_error);
  return std::optional(ResidentImages{pixels.to(device), labels.to(device)});
}

}  // namespace pare
