#include "data/dataset.h"

namespace pare {

Status read_images(const Dataset& images, int64_t first, std::span<uint8_t> dst) {
  const auto bytes = static_cast<size_t>(images.image_shape().size());
  for (int64_t i = first; dst.size() >= bytes && bytes > 0; ++i, dst = dst.subspan(bytes)) {
    PARE_RETURN_IF_ERROR(images.read_image(i, dst.first(bytes)));
  }
  return ok_status();
}

}  // namespace pare
