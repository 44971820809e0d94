// Which pictures there are, and which of them are test images.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "base/file.h"
#include "base/rng.h"
#include "data/image_folder.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFiles = 50'000'000;
constexpr int64_t kMaxSplitBytes = int64_t{4} << 30;

// A name with a line break in it could not be written into the lists kept in files.
bool is_picture(const fs::path& path) {
  if (path.string().find('\n') != std::string::npos) return false;
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return ending == ".jpg" || ending == ".jpeg" || ending == ".png";
}

bool hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

Status list_class(const std::string& root, const std::string& name, int32_t label,
                  std::vector<LabelledFile>& files) {
  std::error_code error;
  fs::recursive_directory_iterator it(root + "/" + name, error);
  const size_t first = files.size();
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (hidden(it->path())) {
      it.disable_recursion_pending();
      continue;
    }
    std::error_code ignored;  // a dangling link is no picture
    if (!is_picture(it->path()) || !it->is_regular_file(ignored)) continue;
    files.push_back({it->path().string().substr(root.size() + 1), label});
    if (files.size() > kMaxFiles) {
      return unsupported(fmt::format("{}: more than {} pictures", root, kMaxFiles));
    }
  }
  if (error) return io_error(fmt::format("{}/{}: {}", root, name, error.message()));
  std::sort(files.begin() + static_cast<int64_t>(first), files.end(),
            [](const LabelledFile& a, const LabelledFile& b) { return a.path < b.path; });
  return ok_status();
}

// What a stored split says of each path.
Result<std::map<std::string, bool>> read_split(const std::string& path) {
  std::map<std::string, bool> sides;
  PARE_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, kMaxSplitBytes));
  std::istringstream lines(text);
  std::string line;
  for (int64_t number = 1; std::getline(lines, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    const size_t space = line.find(' ');
    const std::string side = line.substr(0, space);
    if (space == std::string::npos || (side != "train" && side != "test")) {
      return corrupt(
          fmt::format("{}:{}: expected \"train PICTURE\" or \"test PICTURE\", found "
                      "\"{}\"",
                      path, number, line.substr(0, 60)));
    }
    sides[line.substr(space + 1)] = side == "test";
  }
  return sides;
}

std::string split_text(const FolderListing& listing, const std::vector<bool>& is_test,
                       uint64_t seed) {
  std::string text =
      fmt::format("# Which pictures are for training and which for testing; seed {}.\n", seed);
  for (size_t i = 0; i < is_test.size(); ++i) {
    text += (is_test[i] ? "test " : "train ") + listing.files[i].path + "\n";
  }
  return text;
}

// Draws sides for the files of one class that have none yet, so that a fifth of the class is test.
void draw_class(const std::vector<size_t>& members, const std::map<std::string, bool>& stored,
                const FolderListing& listing, Rng& rng, std::vector<bool>& is_test) {
  std::vector<size_t> fresh;
  size_t tests = 0;
  for (const size_t i : members) {
    const auto known = stored.find(listing.files[i].path);
    if (known == stored.end()) {
      fresh.push_back(i);
    } else if (known->second) {
      is_test[i] = true;
      ++tests;
    }
  }
  const size_t wanted =
      members.size() < 2 ? 0 : std::max<size_t>(1, (members.size() + 2) / 5);  // rounded
  for (const int64_t k : rng.permutation(static_cast<int64_t>(fresh.size()))) {
    if (tests >= wanted) break;
    is_test[fresh[static_cast<size_t>(k)]] = true;
    ++tests;
  }
}

}  // namespace

Result<FolderListing> list_image_folder(const std::string& root) {
  FolderListing listing;
  listing.root = root;
  std::error_code error;
  for (fs::directory_iterator it(root, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored) && !hidden(it->path())) {
      listing.classes.push_back(it->path().filename().string());
    }
  }
  if (error) return io_error(fmt::format("{}: {}", root, error.message()));
  std::sort(listing.classes.begin(), listing.classes.end());
  for (size_t c = 0; c < listing.classes.size(); ++c) {
    PARE_RETURN_IF_ERROR(
        list_class(root, listing.classes[c], static_cast<int32_t>(c), listing.files));
  }
  if (listing.files.empty()) {
    return not_found(root + ": no pictures: expected <class>/*.jpg or <class>/*.png in it");
  }
  return listing;
}

Result<std::vector<bool>> split_listing(const FolderListing& listing, uint64_t seed,
                                        const std::string& stored_at, const std::string& fallback,
                                        std::vector<std::string>& warnings) {
  std::map<std::string, bool> stored;
  std::string previous;
  for (const std::string& path : {stored_at, fallback}) {
    if (!file_exists(path)) continue;
    PARE_ASSIGN_OR_RETURN(stored, read_split(path));
    PARE_ASSIGN_OR_RETURN(previous, read_text_file(path, kMaxSplitBytes));
    break;
  }
  std::vector<std::vector<size_t>> members(listing.classes.size());
  for (size_t i = 0; i < listing.files.size(); ++i) {
    members[static_cast<size_t>(listing.files[i].label)].push_back(i);
  }
  std::vector<bool> is_test(listing.files.size());
  for (size_t c = 0; c < members.size(); ++c) {
    Rng rng(seed, RngPurpose::kSplit, c);
    draw_class(members[c], stored, listing, rng, is_test);
  }
  const std::string text = split_text(listing, is_test, seed);
  if (text == previous) return is_test;
  if (const Status direct = write_file(stored_at, text); !direct.ok()) {
    PARE_RETURN_IF_ERROR(make_directories(fs::path(fallback).parent_path().string()));
    PARE_RETURN_IF_ERROR(write_file(fallback, text));
    warnings.push_back(fmt::format("the split into training and test images is kept in {} ({})",
                                   fallback, direct.message()));
  }
  return is_test;
}

}  // namespace pare
