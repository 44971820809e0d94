#include "data/image_folder.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <sstream>
#include <utility>

#include "base/assets.h"
#include "base/file.h"
#include "base/numerals.h"
#include "base/thread_pool.h"
#include "data/dataset_kind.h"
#include "data/memory_dataset.h"

namespace pare {
namespace {

// Pictures that do not all fit in memory: decoded at each reading.
class FileDataset : public Dataset {
 public:
  FileDataset(FolderListing listing, const ImageFit& fit, std::string description, std::string hash)
      : listing_(std::move(listing)),
        fit_(fit),
        description_(std::move(description)),
        hash_(std::move(hash)) {}

  int64_t size() const override { return static_cast<int64_t>(listing_.files.size()); }
  ImageShape image_shape() const override { return {fit_.channels, fit_.height, fit_.width}; }
  Status read_image(int64_t i, std::span<uint8_t> dst) const override {
    PARE_RETURN_IF_ERROR(check_read(*this, i, dst.size()));
    return prepare_image(listing_.root + "/" + listing_.files[static_cast<size_t>(i)].path, fit_,
                         dst);
  }
  int32_t label(int64_t i) const override { return listing_.files[static_cast<size_t>(i)].label; }
  const std::vector<std::string>& classes() const override { return listing_.classes; }
  std::string description() const override { return description_; }
  std::string hash() const override { return hash_; }

 private:
  FolderListing listing_;
  ImageFit fit_;
  std::string description_;
  std::string hash_;
};

// What decoding every file once found out.
struct Inspection {
  std::vector<std::string> hashes;    // of each file's bytes; empty where it is broken
  std::vector<std::string> failures;  // why it is broken
};

Status read_one(const std::string& path, const ImageFit& fit, std::span<uint8_t> dst,
                std::string& hash) {
  PARE_ASSIGN_OR_RETURN(const auto bytes, read_file(path, kMaxImageFileBytes));
  PARE_ASSIGN_OR_RETURN(const Image image, decode_image_bytes(bytes, path));
  PARE_RETURN_IF_ERROR(fit_image(image, fit, dst).with_context(path));
  hash = hash_bytes(bytes);
  return ok_status();
}

// Decodes every file; into `pixels`, one after the other, unless that is empty.
Inspection inspect(const FolderListing& listing, const ImageFit& fit, int threads,
                   std::span<uint8_t> pixels) {
  const size_t count = listing.files.size();
  const auto image_bytes = static_cast<size_t>(fit.channels * fit.height * fit.width);
  Inspection found{std::vector<std::string>(count), std::vector<std::string>(count)};
  ThreadPool pool(threads > 0 ? threads : available_cores());
  std::vector<std::vector<uint8_t>> spare(static_cast<size_t>(pool.threads()));
  if (pixels.empty()) {
    for (auto& room : spare) room.resize(image_bytes);
  }
  pool.run(static_cast<int64_t>(count), [&](int64_t task, int worker) {
    const auto i = static_cast<size_t>(task);
    const std::span<uint8_t> dst = pixels.empty() ? std::span(spare[static_cast<size_t>(worker)])
                                                  : pixels.subspan(i * image_bytes, image_bytes);
    const Status status =
        read_one(listing.root + "/" + listing.files[i].path, fit, dst, found.hashes[i]);
    if (!status.ok()) found.failures[i] = status.message();
  });
  return found;
}

// Inspections of folders too large to keep in memory are stored, for it takes as long as an epoch.
// The key is every file's path, size and time of change, and the fit: a picture may be too narrow
// for one size and not for another.
std::string inspection_key(const FolderListing& listing, const ImageFit& fit) {
  std::string text =
      fmt::format("{} {}x{}x{} {}", listing.root, fit.channels, fit.height, fit.width, fit.resize);
  for (const LabelledFile& file : listing.files) {
    struct stat info {};
    stat((listing.root + "/" + file.path).c_str(), &info);
    text += fmt::format("\n{} {} {}.{}", file.path, info.st_size, info.st_mtim.tv_sec,
                        info.st_mtim.tv_nsec);
  }
  return hash_bytes(std::as_bytes(std::span(text)));
}

bool load_inspection(const std::string& path, Inspection& found) {
  const auto text = read_text_file(path, int64_t{16} << 30);
  if (!text.ok()) return false;
  std::istringstream lines(*text);
  std::string line;
  size_t i = 0;
  for (; i < found.hashes.size() && std::getline(lines, line); ++i) {
    std::string& field = line.starts_with("ok ") ? found.hashes[i] : found.failures[i];
    const size_t space = line.find(' ');
    if (space == std::string::npos) return false;
    field = line.substr(space + 1);
  }
  return i == found.hashes.size();
}

Inspection stored_inspection(const FolderListing& listing, const FolderOptions& options) {
  const std::string path =
      cache_folder() + "/inspected/" + inspection_key(listing, options.fit) + ".txt";
  const size_t count = listing.files.size();
  Inspection found{std::vector<std::string>(count), std::vector<std::string>(count)};
  if (load_inspection(path, found)) return found;
  found = inspect(listing, options.fit, options.threads, {});
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    text += found.failures[i].empty() ? "ok " + found.hashes[i] : "broken " + found.failures[i];
    text += "\n";
  }
  // Without a cache the next opening only takes longer.
  if (make_directories(cache_folder() + "/inspected").ok() && !write_file(path, text).ok()) {
    return found;
  }
  return found;
}

Status report_broken(const Inspection& found, const FolderOptions& options,
                     std::vector<std::string>& warnings, int64_t& broken) {
  constexpr int64_t kNamed = 10;
  broken = 0;
  for (const std::string& failure : found.failures) {
    if (failure.empty()) continue;
    if (options.strict) return corrupt(failure + " (--strict)");
    if (++broken <= kNamed) warnings.push_back(failure);
  }
  if (broken == static_cast<int64_t>(found.failures.size())) {
    return corrupt(fmt::format("{}: none of the {} pictures can be read; the first: {}",
                               options.description, broken, found.failures[0]));
  }
  if (broken > 0) {
    warnings.push_back(fmt::format("{}: {} of {} pictures are broken and were left out{}",
                                   options.description, broken, found.failures.size(),
                                   broken > kNamed ? " (the first ten are named)" : ""));
  }
  return ok_status();
}

FolderListing part_of(const FolderListing& listing, const std::vector<bool>& chosen, bool value) {
  FolderListing part{listing.root, listing.classes, {}};
  for (size_t i = 0; i < chosen.size(); ++i) {
    if (chosen[i] == value) part.files.push_back(listing.files[i]);
  }
  return part;
}

// The test folder's classes must be among the training folder's, whose numbers they get.
Status align_classes(FolderListing& test, const FolderListing& train) {
  std::vector<int32_t> numbers;
  for (const std::string& name : test.classes) {
    const auto it = std::lower_bound(train.classes.begin(), train.classes.end(), name);
    if (it == train.classes.end() || *it != name) {
      return corrupt(
          fmt::format("{}/{}: there is no class of that name in {}", test.root, name, train.root));
    }
    numbers.push_back(static_cast<int32_t>(it - train.classes.begin()));
  }
  for (LabelledFile& file : test.files) file.label = numbers[static_cast<size_t>(file.label)];
  test.classes = train.classes;
  return ok_status();
}

std::string test_folder(const std::string& path) {
  for (const char* name : {"val", "valid", "validation", "test"}) {
    if (is_directory(path + "/" + name)) return path + "/" + name;
  }
  return {};
}

struct Listings {
  FolderListing train;
  FolderListing test;
};

Result<Listings> list_both(const DatasetOptions& options, std::vector<std::string>& warnings) {
  Listings lists;
  const std::string& path = options.path;
  if (is_directory(path + "/train")) {
    const std::string test = test_folder(path);
    if (!test.empty()) {
      PARE_ASSIGN_OR_RETURN(lists.train, list_image_folder(path + "/train"));
      PARE_ASSIGN_OR_RETURN(lists.test, list_image_folder(test));
      PARE_RETURN_IF_ERROR(align_classes(lists.test, lists.train));
      return lists;
    }
  }
  const std::string root = is_directory(path + "/train") ? path + "/train" : path;
  PARE_ASSIGN_OR_RETURN(const FolderListing all, list_image_folder(root));
  std::error_code ignored;
  const std::string absolute = std::filesystem::absolute(root, ignored).string();
  const std::string name = fmt::format("pare-split-{}.txt", options.seed);
  PARE_ASSIGN_OR_RETURN(
      const auto is_test,
      split_listing(
          all, options.seed, root + "/" + name,
          cache_folder() + "/splits/" + hash_bytes(std::as_bytes(std::span(absolute))) + "-" + name,
          warnings));
  lists.train = part_of(all, is_test, false);
  lists.test = part_of(all, is_test, true);
  if (lists.test.files.empty()) {
    return corrupt(root + ": too few pictures to hold some back for testing");
  }
  return lists;
}

// Any folder that holds folders.
bool recognises_folder(const std::string& path) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(path, error);
       !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored)) return true;
  }
  return false;
}

Result<DatasetPair> open_folder(const DatasetOptions& options) {
  DatasetPair pair;
  const int64_t side = options.image_size != 0 ? options.image_size : 224;
  FolderOptions folder;
  const int64_t shorter = options.resize != 0 ? options.resize : side;
  folder.fit = {3, side, side, options.stretch ? 0 : shorter};
  folder.strict = options.strict;
  folder.threads = options.threads;
  PARE_ASSIGN_OR_RETURN(const Listings lists, list_both(options, pair.warnings));
  folder.description = options.path + " test";
  PARE_ASSIGN_OR_RETURN(pair.test, open_image_files(lists.test, folder, pair.warnings));
  if (options.test_only) return pair;
  folder.description = options.path + " training";
  PARE_ASSIGN_OR_RETURN(pair.train, open_image_files(lists.train, folder, pair.warnings));
  return pair;
}

}  // namespace

Result<std::shared_ptr<const Dataset>> open_image_files(const FolderListing& listing,
                                                        const FolderOptions& options,
                                                        std::vector<std::string>& warnings) {
  constexpr int64_t kMaxSide = 8192;
  const ImageFit& fit = options.fit;
  if (fit.height < 1 || fit.height > kMaxSide || fit.width < 1 || fit.width > kMaxSide ||
      fit.resize < 0 || fit.resize > kMaxSide) {
    return invalid_argument(fmt::format("image size {}x{} (shorter side {}): expected 1 to {}",
                                        fit.height, fit.width, fit.resize, kMaxSide));
  }
  const int64_t image_bytes = fit.channels * fit.height * fit.width;
  const auto count = static_cast<int64_t>(listing.files.size());
  const bool keep = count <= options.memory_budget_bytes / image_bytes;
  std::vector<uint8_t> pixels(keep ? static_cast<size_t>(count * image_bytes) : 0);
  const Inspection found =
      keep ? inspect(listing, fit, options.threads, pixels) : stored_inspection(listing, options);
  int64_t broken = 0;
  PARE_RETURN_IF_ERROR(report_broken(found, options, warnings, broken));

  FolderListing sound{listing.root, listing.classes, {}};
  std::vector<int32_t> labels;
  std::string identity =
      fmt::format("{}x{}x{} {}", fit.channels, fit.height, fit.width, fit.resize);
  for (size_t i = 0; i < listing.files.size(); ++i) {
    if (found.hashes[i].empty()) continue;
    if (keep && labels.size() != i) {
      std::memmove(pixels.data() + static_cast<int64_t>(labels.size()) * image_bytes,
                   pixels.data() + static_cast<int64_t>(i) * image_bytes,
                   static_cast<size_t>(image_bytes));
    }
    labels.push_back(listing.files[i].label);
    sound.files.push_back(listing.files[i]);
    identity += fmt::format(" {} {}", listing.files[i].label, found.hashes[i]);
  }
  const std::string description =
      fmt::format("{}, {} images{}", options.description, with_thousands(count - broken),
                  broken > 0 ? fmt::format(" ({} broken left out)", with_thousands(broken)) : "");
  if (!keep) {
    return std::shared_ptr<const Dataset>(std::make_shared<FileDataset>(
        std::move(sound), fit, description, hash_bytes(std::as_bytes(std::span(identity)))));
  }
  pixels.resize(labels.size() * static_cast<size_t>(image_bytes));
  PARE_ASSIGN_OR_RETURN(
      auto data, MemoryDataset::create({fit.channels, fit.height, fit.width}, std::move(pixels),
                                       std::move(labels), listing.classes, description));
  return std::shared_ptr<const Dataset>(std::move(data));
}

DatasetKind image_folder_kind() {
  return {
      "a folder of pictures for each class (train/<class>/*.jpg and val/<class>/*.jpg, or "
      "<class>/*.jpg alone)",
      recognises_folder, open_folder};
}

}  // namespace pare
