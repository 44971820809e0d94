// CIFAR-10 and CIFAR-100 in their publisher's binary layout (Krizhevsky 2009).
//
// CIFAR-10: data_batch_1.bin … data_batch_5.bin and test_batch.bin, 10,000 records each; a record
// is one label byte, then 3,072 bytes of pixels: red, green and blue planes of 32 × 32, row by row.
// CIFAR-100: train.bin (50,000) and test.bin (10,000); a record is the coarse label, the fine label
// (the one used), then the pixels; fine_label_names.txt names the classes.
#ifndef PARE_DATA_CIFAR_H_
#define PARE_DATA_CIFAR_H_

#include <string>
#include <vector>

#include "data/memory_dataset.h"

namespace pare {

struct CifarLayout {
  const char* name;     // "CIFAR-10"
  const char* archive;  // the folder inside the publisher's archive, which may be left out
  std::vector<std::string> train_files;
  std::string test_file;
  int64_t records_per_train_file;
  int64_t label_bytes;  // before the pixels; the last one counts
  int32_t class_count;
  const char* names_file;
};
const CifarLayout& cifar10_layout();
const CifarLayout& cifar100_layout();

// Whether `path`, or the archive's folder inside it, holds any of the layout's image files; gives
// that folder, or an empty string.
std::string find_cifar_folder(const CifarLayout& layout, const std::string& path);

// Reads all of it. Sizes and labels are checked; the message names the file, expected and found.
Result<DatasetPair> read_cifar(const CifarLayout& layout, const std::string& folder,
                               bool test_only = false);

// Records that are already in memory: what read_cifar() does for each file. `classes` gives the
// number of labels.
Status parse_cifar_records(std::span<const std::byte> bytes, const CifarLayout& layout,
                           int64_t expected_records, const std::string& name,
                           std::vector<uint8_t>& pixels, std::vector<int32_t>& labels);

}  // namespace pare

#endif  // PARE_DATA_CIFAR_H_
