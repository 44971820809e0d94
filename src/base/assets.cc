#include "base/assets.h"

#include <fmt/ranges.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

namespace pare {

std::vector<std::string> asset_candidates(const std::string& relative,
                                          const std::string& program_folder,
                                          const std::string& home) {
  constexpr int kLevelsUp = 6;
  std::vector<std::string> places;
  if (!home.empty()) places.push_back(home + "/" + relative);
  places.push_back(program_folder + "/share/pare/" + relative);
  std::filesystem::path folder(program_folder);
  places.push_back((folder.parent_path() / "share/pare" / relative).string());
  for (int level = 0; level <= kLevelsUp; ++level) {
    places.push_back((folder / relative).string());
    if (!folder.has_relative_path()) break;
    folder = folder.parent_path();
  }
  return places;
}

Result<std::string> find_asset(const std::string& relative) {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return io_error("/proc/self/exe: " + error.message());
  const char* home = std::getenv("PARE_HOME");
  const auto places =
      asset_candidates(relative, program.parent_path().string(), home == nullptr ? "" : home);
  for (const std::string& place : places) {
    struct stat info {};
    if (stat(place.c_str(), &info) == 0) return place;
  }
  return not_found(fmt::format(
      "{} comes with Pare but is in none of: {} (PARE_HOME names the folder that holds it)",
      relative, fmt::join(places, ", ")));
}

std::string cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') return std::string(cache) + "/pare";
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return std::string(home) + "/.cache/pare";
  return "/tmp/pare-cache";
}

}  // namespace pare
