#include "cli/model_argument.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>

#include "base/assets.h"
#include "base/file.h"
#include "base/nearest.h"

namespace pare {

namespace fs = std::filesystem;

std::vector<std::string> zoo_names() {
  std::vector<std::string> names;
  const auto folder = find_asset("zoo");
  if (!folder.ok()) return names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(*folder, error)) {
    if (entry.path().extension() == ".pare") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::string> model_path(const std::string& argument) {
  const fs::path path(argument);
  if (file_exists(argument) || path.has_extension() || path.has_parent_path()) return argument;
  const std::vector<std::string> names = zoo_names();
  if (std::find(names.begin(), names.end(), argument) != names.end()) {
    return find_asset("zoo/" + argument + ".pare");
  }
  if (is_directory(argument)) return argument;  // load_model() says that it is a folder
  if (names.empty()) {
    return not_found(argument + ": expected a .onnx or .pare file; the zoo is not installed");
  }
  return not_found(
      fmt::format("{}: expected a .onnx or .pare file, or one of the zoo: {}; did you mean '{}'?",
                  argument, fmt::join(names, ", "), nearest_name(argument, names)));
}

CLI::Validator model_argument() {
  return {[](std::string& argument) {
            const auto path = model_path(argument);
            if (path.ok()) argument = *path;
            return path.ok() ? std::string() : path.status().message();
          },
          "", "model"};
}

Status check_model_output(const std::string& path) {
  const auto ending = fs::path(path).extension();
  if (ending != ".onnx" && ending != ".pare") {
    return invalid_argument(path + ": expected an output ending in .onnx or .pare");
  }
  return check_can_write(path);
}

}  // namespace pare
