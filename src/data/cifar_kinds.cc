// CIFAR-10 and CIFAR-100 as kinds of data: a folder in the publisher's layout, or the names
// "cifar10" and "cifar100", which are downloaded once into the cache.

#include <fmt/format.h>

#include "base/assets.h"
#include "data/cifar.h"
#include "data/dataset_kind.h"
#include "data/download.h"

namespace pare {

DatasetKind builtin_kind();

namespace {

bool holds_cifar10(const std::string& path) {
  return path == "cifar10" || !find_cifar_folder(cifar10_layout(), path).empty();
}

bool holds_cifar100(const std::string& path) {
  return path == "cifar100" || !find_cifar_folder(cifar100_layout(), path).empty();
}

// Without a network the built-in images take the place of CIFAR-10; the warning says so.
Result<DatasetPair> open_cifar10(const DatasetOptions& options) {
  if (options.path != "cifar10") {
    return read_cifar(cifar10_layout(), find_cifar_folder(cifar10_layout(), options.path),
                      options.test_only);
  }
  const auto folder = fetch_archive(cifar10_source(), cache_folder(), options.progress);
  if (folder.ok()) return read_cifar(cifar10_layout(), *folder, options.test_only);
  PARE_ASSIGN_OR_RETURN(DatasetPair pair, builtin_kind().open(options));
  pair.warnings.push_back(fmt::format(
      "CIFAR-10 could not be downloaded ({}); using the built-in images: all 10,000 test images, "
      "but only 5,000 of the 50,000 training images",
      folder.status().message()));
  return pair;
}

Result<DatasetPair> open_cifar100(const DatasetOptions& options) {
  if (options.path != "cifar100") {
    return read_cifar(cifar100_layout(), find_cifar_folder(cifar100_layout(), options.path),
                      options.test_only);
  }
  const auto folder = fetch_archive(cifar100_source(), cache_folder(), options.progress);
  if (!folder.ok()) return folder.status().with_context("CIFAR-100 could not be downloaded");
  return read_cifar(cifar100_layout(), *folder, options.test_only);
}

}  // namespace

DatasetKind cifar10_kind() {
  return {
      "CIFAR-10's binary files (test_batch.bin, data_batch_1.bin ...), or \"cifar10\" to "
      "download them",
      holds_cifar10, open_cifar10};
}

DatasetKind cifar100_kind() {
  return {"CIFAR-100's (test.bin, train.bin), or \"cifar100\" to download them", holds_cifar100,
          open_cifar100};
}

}  // namespace pare
