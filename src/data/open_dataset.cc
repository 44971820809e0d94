#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <utility>

#include "base/file.h"
#include "data/dataset.h"
#include "data/dataset_kind.h"
#include "data/image.h"
#include "data/memory_dataset.h"

namespace pare {

#define PARE_DATASET(name) DatasetKind name##_kind();
#include "data/datasets.inc"
#undef PARE_DATASET

namespace {

std::vector<DatasetKind> dataset_kinds() {
  return {
#define PARE_DATASET(name) name##_kind(),
#include "data/datasets.inc"
#undef PARE_DATASET
  };
}

Result<DatasetKind> find_kind(const std::string& path) {
  std::vector<std::string> forms;
  for (DatasetKind& kind : dataset_kinds()) {
    if (kind.recognises(path)) return std::move(kind);
    if (!kind.form.empty()) forms.push_back(std::move(kind.form));
  }
  constexpr const char* kDownloaded = "(\"cifar10\" and \"cifar100\" are downloaded)";
  if (file_exists(path)) {
    return not_found(
        fmt::format("{}: expected a folder of images, found a file {}", path, kDownloaded));
  }
  if (!is_directory(path)) {
    return not_found(fmt::format("{}: no such folder of images {}", path, kDownloaded));
  }
  return not_found(
      fmt::format("{}: no images found; expected one of: {}", path, fmt::join(forms, "; ")));
}

Result<DatasetPair> open_whole(const DatasetOptions& options) {
  PARE_ASSIGN_OR_RETURN(const DatasetKind kind, find_kind(options.path));
  return kind.open(options);
}

// Images of another size than they are stored in, resized each time they are read.
class FittedDataset : public Dataset {
 public:
  FittedDataset(std::shared_ptr<const Dataset> base, const ImageFit& fit)
      : base_(std::move(base)), fit_(fit) {}

  int64_t size() const override { return base_->size(); }
  ImageShape image_shape() const override { return {3, fit_.height, fit_.width}; }
  Status read_image(int64_t i, std::span<uint8_t> dst) const override {
    PARE_RETURN_IF_ERROR(check_read(*this, i, dst.size()));
    const ImageShape shape = base_->image_shape();
    std::vector<uint8_t> planes(static_cast<size_t>(shape.size()));
    PARE_RETURN_IF_ERROR(base_->read_image(i, planes));
    Image image{shape.height, shape.width, std::vector<uint8_t>(planes.size())};
    const int64_t area = shape.height * shape.width;
    for (int64_t k = 0; k < area; ++k) {
      for (int64_t c = 0; c < 3; ++c) {
        image.pixels[static_cast<size_t>(3 * k + c)] = planes[static_cast<size_t>(c * area + k)];
      }
    }
    return fit_image(image, fit_, dst);
  }
  int32_t label(int64_t i) const override { return base_->label(i); }
  const std::vector<std::string>& classes() const override { return base_->classes(); }
  std::string description() const override {
    return fmt::format("{} (resized to {}x{})", base_->description(), fit_.width, fit_.height);
  }
  std::string hash() const override {
    const std::string text =
        fmt::format("{} {}x{} {}", base_->hash(), fit_.height, fit_.width, fit_.resize);
    return hash_bytes(std::as_bytes(std::span(text)));
  }

 private:
  std::shared_ptr<const Dataset> base_;
  ImageFit fit_;
};

std::shared_ptr<const Dataset> fitted(const std::shared_ptr<const Dataset>& data,
                                      const DatasetOptions& options) {
  const int64_t side = options.image_size;
  if (side == 0 || data == nullptr || data->image_shape() == ImageShape{3, side, side}) return data;
  const int64_t shorter = options.resize != 0 ? options.resize : side;
  return std::make_shared<FittedDataset>(data,
                                         ImageFit{3, side, side, options.stretch ? 0 : shorter});
}

}  // namespace

Status check_dataset_path(const std::string& path) { return find_kind(path).status(); }

Result<DatasetPair> open_dataset(const DatasetOptions& options) {
  if (!(options.train_fraction > 0.0 && options.train_fraction <= 1.0)) {
    return invalid_argument(fmt::format("training fraction {}: expected more than 0, at most 1",
                                        options.train_fraction));
  }
  constexpr int64_t kMaxSide = 8192;
  if (options.image_size < 0 || options.image_size > kMaxSide || options.resize < 0 ||
      options.resize > kMaxSide || (options.resize != 0 && options.resize < options.image_size)) {
    return invalid_argument(fmt::format(
        "image size {} with a shorter side of {}: expected at most {}, the shorter side not less "
        "than the size (0: their defaults)",
        options.image_size, options.resize, kMaxSide));
  }
  PARE_ASSIGN_OR_RETURN(DatasetPair pair, open_whole(options));
  pair.train = fitted(pair.train, options);
  pair.test = fitted(pair.test, options);
  if (options.train_fraction < 1.0 && pair.train != nullptr) {
    const auto all = static_cast<double>(pair.train->size());
    const auto count = std::max<int64_t>(1, std::llround(all * options.train_fraction));
    PARE_ASSIGN_OR_RETURN(pair.train, balanced_subset(pair.train, count, options.seed,
                                                      fmt::format("training images ({:g} %)",
                                                                  options.train_fraction * 100.0)));
  }
  return pair;
}

}  // namespace pare
