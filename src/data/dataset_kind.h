// What a kind of data must offer. To add one: a file with `DatasetKind <name>_kind()` and a line in
// datasets.inc.
#ifndef PARE_DATA_DATASET_KIND_H_
#define PARE_DATA_DATASET_KIND_H_

#include <string>

#include "data/dataset.h"

namespace pare {

struct DatasetKind {
  std::string form;  // what it expects at the path, for the message when nothing matches
  bool (*recognises)(const std::string& path);
  // The whole of it; open_dataset() takes the fraction.
  Result<DatasetPair> (*open)(const DatasetOptions& options);
};

}  // namespace pare

#endif  // PARE_DATA_DATASET_KIND_H_
