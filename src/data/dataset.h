// Dataset: labelled images of one size, read by index from any thread.
#ifndef PARE_DATA_DATASET_H_
#define PARE_DATA_DATASET_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pare/status.h"

namespace pare {

struct ImageShape {
  int64_t channels = 3;
  int64_t height = 0;
  int64_t width = 0;
  int64_t size() const { return channels * height * width; }
  bool operator==(const ImageShape&) const = default;
};

class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual int64_t size() const = 0;
  virtual ImageShape image_shape() const = 0;
  // Writes image i as uint8 CHW, RGB. Safe to call from several threads at once. `dst` has
  // image_shape().size() bytes.
  virtual Status read_image(int64_t i, std::span<uint8_t> dst) const = 0;
  virtual int32_t label(int64_t i) const = 0;
  virtual const std::vector<std::string>& classes() const = 0;
  // What these images are, as shown wherever a figure from them is: "CIFAR-10 test, 10,000 images",
  // "5,000 built-in training images of CIFAR-10 (not the full 50,000)".
  virtual std::string description() const = 0;
  // Identifies content and order, for caching and records.
  virtual std::string hash() const = 0;
};

// Images first, first + 1, … one after the other: as many as `dst` holds whole.
Status read_images(const Dataset& images, int64_t first, std::span<uint8_t> dst);

struct DatasetPair {
  std::shared_ptr<const Dataset> train;  // nullptr if only the test images were asked for
  std::shared_ptr<const Dataset> test;
  // What the user must know although all went well, one line each: images left out because they are
  // broken, a split that could not be stored, a download that could not be made.
  std::vector<std::string> warnings;
};

struct DatasetOptions {
  // Empty: the built-in images. Otherwise a folder in CIFAR-10's or CIFAR-100's binary layout, a
  // folder of images by class, or the names "cifar10" and "cifar100" (downloaded once into the
  // cache).
  std::string path;
  // The side of the square images that are wanted; 0: as they are stored, 224 for pictures of any
  // size. `resize` is the shorter side before the centre crop; 0: image_size. `stretch`: both sides
  // straight to image_size instead.
  int64_t image_size = 0;
  int64_t resize = 0;
  bool stretch = false;
  double train_fraction = 1.0;  // a seeded, class-balanced share of the training images
  uint64_t seed = 0;
  bool test_only = false;  // leave the training images alone: `pare eval` needs none
  bool strict = false;     // a broken image stops the run instead of being named and counted
  int threads = 0;         // decoding; 0: all cores
  // Called while something is downloaded: bytes so far and in all (0: not known).
  std::function<void(int64_t done_bytes, int64_t total_bytes)> progress;
};

// Before anything is read or downloaded: whether open_dataset() would find something there.
Status check_dataset_path(const std::string& path);
// Opens whatever `options.path` is. Errors name the file and what was expected of it.
Result<DatasetPair> open_dataset(const DatasetOptions& options);

// The images of `base` at the given positions, in that order.
std::shared_ptr<const Dataset> subset(std::shared_ptr<const Dataset> base,
                                      std::vector<int64_t> indices, std::string description);
// `count` images drawn with the seed, as evenly over the classes as they allow.
Result<std::shared_ptr<const Dataset>> balanced_subset(const std::shared_ptr<const Dataset>& base,
                                                       int64_t count, uint64_t seed,
                                                       const std::string& what);
// The same draw and all the others: every image is in one of the two.
struct HeldOut {
  std::shared_ptr<const Dataset> kept;
  std::shared_ptr<const Dataset> held;  // `count` images
};
Result<HeldOut> hold_out(const std::shared_ptr<const Dataset>& base, int64_t count, uint64_t seed);

}  // namespace pare

#endif  // PARE_DATA_DATASET_H_
