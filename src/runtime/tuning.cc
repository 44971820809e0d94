#include "runtime/tuning.h"

#include <fmt/format.h>

#include <sstream>

#include "base/build_info.h"
#include "base/cpu_features.h"

namespace pare {
namespace {

constexpr const char* kTuningKey = "tuned kernels";

std::string this_machine() {
  const CpuInfo cpu = detect_cpu();
  return fmt::format("{}, {}, Pare {}", cpu.model, features_string(cpu.features), build_version());
}

}  // namespace

void store_tuning(const KernelTuning& tuning, Graph& graph) {
  graph.metadata.erase(kTuningKey);
  if (tuning.empty()) return;
  std::string& text = graph.metadata[kTuningKey];
  text = this_machine() + "\n";
  for (const auto& [layer, kernel] : tuning) text += layer + "\t" + kernel + "\n";
}

KernelTuning stored_tuning(const Graph& graph) {
  const auto found = graph.metadata.find(kTuningKey);
  if (found == graph.metadata.end()) return {};
  std::istringstream lines(found->second);
  std::string line;
  if (!std::getline(lines, line) || line != this_machine()) return {};
  KernelTuning tuning;
  while (std::getline(lines, line)) {
    const size_t tab = line.rfind('\t');
    if (tab != std::string::npos) tuning[line.substr(0, tab)] = line.substr(tab + 1);
  }
  return tuning;
}

}  // namespace pare
