// .pimg files: packed images.
#include "data/packed_images.h"
#include "targets.h"

bool fuzz_packed_images(std::span<const std::byte> bytes) {
  const auto images = pare::decode_packed_images(bytes, "fuzz", "fuzz", 1);
  if (!images.ok()) return false;
  const pare::MemoryDataset& set = **images;
  std::vector<uint8_t> pixels(static_cast<size_t>(set.image_shape().size()));
  for (int64_t i = 0; i < set.size(); ++i) {
    require(set.read_image(i, pixels).ok());
    require(set.label(i) >= 0 && set.label(i) < static_cast<int32_t>(set.classes().size()));
  }
  return true;
}
