// CIFAR-10 and CIFAR-100 as kinds of data: a folder in the publisher's layout.

#include "data/cifar.h"
#include "data/dataset_kind.h"

namespace pare {

DatasetKind cifar10_kind() {
  return {
      "CIFAR-10's binary files (test_batch.bin, data_batch_1.bin ...)",
      [](const std::string& path) { return !find_cifar_folder(cifar10_layout(), path).empty(); },
      [](const DatasetOptions& options) {
        return read_cifar(cifar10_layout(), find_cifar_folder(cifar10_layout(), options.path),
                          options.test_only);
      }};
}

DatasetKind cifar100_kind() {
  return {
      "CIFAR-100's (test.bin, train.bin)",
      [](const std::string& path) { return !find_cifar_folder(cifar100_layout(), path).empty(); },
      [](const DatasetOptions& options) {
        return read_cifar(cifar100_layout(), find_cifar_folder(cifar100_layout(), options.path),
                          options.test_only);
      }};
}

}  // namespace pare
