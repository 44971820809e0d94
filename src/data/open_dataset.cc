#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <utility>

#include "base/file.h"
#include "data/dataset.h"
#include "data/dataset_kind.h"
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

Result<DatasetPair> open_whole(const DatasetOptions& options) {
  std::vector<std::string> forms;
  for (const DatasetKind& kind : dataset_kinds()) {
    if (kind.recognises(options.path)) return kind.open(options);
    if (!kind.form.empty()) forms.push_back(kind.form);
  }
  if (!is_directory(options.path)) {
    return not_found(options.path +
                     ": no such folder of images (\"cifar10\" and \"cifar100\" are downloaded)");
  }
  return not_found(fmt::format("{}: no images found; expected one of: {}", options.path,
                               fmt::join(forms, "; ")));
}

}  // namespace

Result<DatasetPair> open_dataset(const DatasetOptions& options) {
  if (!(options.train_fraction > 0.0 && options.train_fraction <= 1.0)) {
    return invalid_argument(fmt::format("training fraction {}: expected more than 0, at most 1",
                                        options.train_fraction));
  }
  PARE_ASSIGN_OR_RETURN(DatasetPair pair, open_whole(options));
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
