// The built-in images: all of CIFAR-10's test images and 5,000 of its training images, kept in the
// repository (data/cifar-10-builtin/README.md says where they come from).

#include "base/assets.h"
#include "data/dataset_kind.h"
#include "data/packed_images.h"

namespace pare {
namespace {

bool recognises(const std::string& path) { return path.empty(); }

Result<DatasetPair> open(const DatasetOptions& options) {
  const std::string folder = "data/cifar-10-builtin/";
  PARE_ASSIGN_OR_RETURN(const std::string train, find_asset(folder + "train.pimg"));
  PARE_ASSIGN_OR_RETURN(const std::string test, find_asset(folder + "test.pimg"));
  DatasetPair pair;
  PARE_ASSIGN_OR_RETURN(pair.test,
                        read_packed_images(test, "CIFAR-10 test, 10,000 images", options.threads));
  if (options.test_only) return pair;
  PARE_ASSIGN_OR_RETURN(
      pair.train,
      read_packed_images(train, "5,000 built-in training images of CIFAR-10 (not the full 50,000)",
                         options.threads));
  return pair;
}

}  // namespace

DatasetKind builtin_kind() { return {"nothing at all (the built-in images)", recognises, open}; }

}  // namespace pare
