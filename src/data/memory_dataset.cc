#include "data/memory_dataset.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "base/file.h"

namespace pare {

Result<std::shared_ptr<const MemoryDataset>> MemoryDataset::create(ImageShape shape,
                                                                   std::vector<uint8_t> pixels,
                                                                   std::vector<int32_t> labels,
                                                                   std::vector<std::string> classes,
                                                                   std::string description) {
  const auto expected = static_cast<size_t>(shape.size()) * labels.size();
  if (pixels.size() != expected) {
    return invalid_argument(fmt::format("{}: expected {} bytes of pixels for {} images, found {}",
                                        description, expected, labels.size(), pixels.size()));
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || static_cast<size_t>(labels[i]) >= classes.size()) {
      return corrupt(fmt::format("{}: image {} has label {}, expected 0 to {}", description, i,
                                 labels[i], static_cast<int64_t>(classes.size()) - 1));
    }
  }
  std::shared_ptr<MemoryDataset> dataset(new MemoryDataset);
  dataset->hash_ =
      hash_bytes(std::as_bytes(std::span(pixels))) + hash_bytes(std::as_bytes(std::span(labels)));
  dataset->hash_ = hash_bytes(std::as_bytes(std::span(dataset->hash_)));
  dataset->shape_ = shape;
  dataset->pixels_ = std::move(pixels);
  dataset->labels_ = std::move(labels);
  dataset->classes_ = std::move(classes);
  dataset->description_ = std::move(description);
  return std::shared_ptr<const MemoryDataset>(std::move(dataset));
}

Status MemoryDataset::read_image(int64_t i, std::span<uint8_t> dst) const {
  PARE_RETURN_IF_ERROR(check_read(*this, i, dst.size()));
  std::memcpy(dst.data(), image(i).data(), image(i).size());
  return ok_status();
}

Status check_read(const Dataset& dataset, int64_t i, size_t room_bytes) {
  if (i < 0 || i >= dataset.size()) {
    return invalid_argument(fmt::format("{}: image {} asked for, there are {}",
                                        dataset.description(), i, dataset.size()));
  }
  if (room_bytes < static_cast<size_t>(dataset.image_shape().size())) {
    return invalid_argument(fmt::format("{}: an image needs {} bytes, {} were given",
                                        dataset.description(), dataset.image_shape().size(),
                                        room_bytes));
  }
  return ok_status();
}

}  // namespace pare
