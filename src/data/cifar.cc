#include "data/cifar.h"

#include <fmt/format.h>

#include <utility>

#include "base/file.h"
#include "base/numerals.h"

namespace pare {
namespace {

constexpr ImageShape kShape{3, 32, 32};
constexpr int64_t kTestRecords = 10000;

Result<std::vector<std::string>> read_class_names(const CifarLayout& layout,
                                                  const std::string& folder) {
  const std::string path = folder + "/" + layout.names_file;
  PARE_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, 1 << 16));
  std::vector<std::string> names;
  std::string line;
  for (const char c : text + "\n") {
    if (c == '\n') {
      if (!line.empty()) names.push_back(line);
      line.clear();
    } else if (c != '\r') {
      line += c;
    }
  }
  if (static_cast<int32_t>(names.size()) != layout.class_count) {
    return corrupt(fmt::format("{}: expected {} class names, found {}", path, layout.class_count,
                               names.size()));
  }
  return names;
}

Result<std::shared_ptr<const MemoryDataset>> read_files(
    const CifarLayout& layout, const std::string& folder, const std::vector<std::string>& files,
    int64_t records_per_file, const std::vector<std::string>& classes, const std::string& split) {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  const auto total = static_cast<int64_t>(files.size()) * records_per_file;
  pixels.reserve(static_cast<size_t>(total * kShape.size()));
  labels.reserve(static_cast<size_t>(total));
  for (const std::string& file : files) {
    const std::string path = folder + "/" + file;
    const int64_t expected = records_per_file * (layout.label_bytes + kShape.size());
    // The size is asked for before the bytes, so that a wrong file costs no memory.
    PARE_ASSIGN_OR_RETURN(const int64_t found, file_size(path));
    if (found != expected) {
      return corrupt(fmt::format("{}: expected {} bytes ({} images of {}), found {}", path,
                                 with_thousands(expected), with_thousands(records_per_file),
                                 layout.label_bytes + kShape.size(), with_thousands(found)));
    }
    PARE_ASSIGN_OR_RETURN(const auto bytes, read_file(path, expected));
    PARE_RETURN_IF_ERROR(
        parse_cifar_records(bytes, layout, records_per_file, path, pixels, labels));
  }
  return MemoryDataset::create(
      kShape, std::move(pixels), std::move(labels), classes,
      fmt::format("{} {}, {} images", layout.name, split, with_thousands(total)));
}

}  // namespace

const CifarLayout& cifar10_layout() {
  static const CifarLayout layout{"CIFAR-10",
                                  "cifar-10-batches-bin",
                                  {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                   "data_batch_4.bin", "data_batch_5.bin"},
                                  "test_batch.bin",
                                  10000,
                                  1,
                                  10,
                                  "batches.meta.txt"};
  return layout;
}

const CifarLayout& cifar100_layout() {
  static const CifarLayout layout{
      "CIFAR-100", "cifar-100-binary",    {"train.bin"}, "test.bin", 50000, 2,
      100,         "fine_label_names.txt"};
  return layout;
}

std::string find_cifar_folder(const CifarLayout& layout, const std::string& path) {
  for (const std::string& folder : {path, path + "/" + layout.archive}) {
    if (file_exists(folder + "/" + layout.test_file)) return folder;
    for (const std::string& file : layout.train_files) {
      if (file_exists(folder + "/" + file)) return folder;
    }
  }
  return {};
}

Status parse_cifar_records(std::span<const std::byte> bytes, const CifarLayout& layout,
                           int64_t expected_records, const std::string& name,
                           std::vector<uint8_t>& pixels, std::vector<int32_t>& labels) {
  const auto record = static_cast<size_t>(layout.label_bytes + kShape.size());
  if (bytes.size() != record * static_cast<size_t>(expected_records)) {
    return corrupt(fmt::format("{}: expected {} bytes ({} images of {}), found {}", name,
                               record * static_cast<size_t>(expected_records), expected_records,
                               record, bytes.size()));
  }
  for (int64_t i = 0; i < expected_records; ++i) {
    const auto* p =
        reinterpret_cast<const uint8_t*>(bytes.data() + static_cast<size_t>(i) * record);
    const int32_t label = p[layout.label_bytes - 1];
    if (label >= layout.class_count) {
      return corrupt(fmt::format("{}: image {} has label {}, expected 0 to {}", name, i, label,
                                 layout.class_count - 1));
    }
    labels.push_back(label);
    pixels.insert(pixels.end(), p + layout.label_bytes, p + record);
  }
  return ok_status();
}

Result<DatasetPair> read_cifar(const CifarLayout& layout, const std::string& folder,
                               bool test_only) {
  PARE_ASSIGN_OR_RETURN(const auto classes, read_class_names(layout, folder));
  DatasetPair pair;
  PARE_ASSIGN_OR_RETURN(
      pair.test, read_files(layout, folder, {layout.test_file}, kTestRecords, classes, "test"));
  if (test_only) return pair;
  PARE_ASSIGN_OR_RETURN(pair.train, read_files(layout, folder, layout.train_files,
                                               layout.records_per_train_file, classes, "training"));
  return pair;
}

}  // namespace pare
