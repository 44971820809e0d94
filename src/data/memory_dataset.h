// A Dataset whose images lie in memory: CIFAR's files, the built-in images, toys of the tests.
#ifndef PARE_DATA_MEMORY_DATASET_H_
#define PARE_DATA_MEMORY_DATASET_H_

#include <string>
#include <vector>

#include "data/dataset.h"

namespace pare {

class MemoryDataset : public Dataset {
 public:
  // `pixels`: labels.size() images of uint8 CHW, one after the other. Every label must be a
  // position in `classes` (create() checks both).
  static Result<std::shared_ptr<const MemoryDataset>> create(ImageShape shape,
                                                             std::vector<uint8_t> pixels,
                                                             std::vector<int32_t> labels,
                                                             std::vector<std::string> classes,
                                                             std::string description);

  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  ImageShape image_shape() const override { return shape_; }
  Status read_image(int64_t i, std::span<uint8_t> dst) const override;
  int32_t label(int64_t i) const override { return labels_[static_cast<size_t>(i)]; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::string description() const override { return description_; }
  std::string hash() const override { return hash_; }

  std::span<const uint8_t> image(int64_t i) const {
    return {pixels_.data() + i * shape_.size(), static_cast<size_t>(shape_.size())};
  }

 private:
  MemoryDataset() = default;
  ImageShape shape_;
  std::vector<uint8_t> pixels_;
  std::vector<int32_t> labels_;
  std::vector<std::string> classes_;
  std::string description_;
  std::string hash_;
};

// The checks that read_image() of every kind makes: position in range, room for one image.
Status check_read(const Dataset& dataset, int64_t i, size_t room_bytes);

}  // namespace pare

#endif  // PARE_DATA_MEMORY_DATASET_H_
