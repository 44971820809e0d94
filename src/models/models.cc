#include "models/models.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

namespace pare {

#define PARE_MODEL(name, build, description) Result<Graph> build(const ModelOptions& options);
#include "models/models.inc"
#undef PARE_MODEL

namespace {

// Levenshtein's distance: insertions, deletions and substitutions from `a` to `b`.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

}  // namespace

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
