#include "models/models.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/nearest.h"

namespace pare {

#define PARE_MODEL(name, build, description) Result<Graph> build(const ModelOptions& options);
#include "models/models.inc"
#undef PARE_MODEL

const std::vector<ModelEntry>& model_entries() {
  static const std::vector<ModelEntry> entries = {
#define PARE_MODEL(name, build, description) {name, description, build},
#include "models/models.inc"
#undef PARE_MODEL
  };
  return entries;
}

Result<Graph> build_model(const std::string& name, const ModelOptions& options) {
  std::vector<std::string> names;
  for (const ModelEntry& entry : model_entries()) {
    if (entry.name == name) return entry.build(options);
    names.push_back(entry.name);
  }
  std::ranges::stable_sort(names, {}, [&](const std::string& n) { return edit_distance(n, name); });
  return invalid_argument(
      fmt::format("no model is called '{}'; there are {}", name, fmt::join(names, ", ")));
}

}  // namespace pare
