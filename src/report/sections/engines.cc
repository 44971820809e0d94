// Other engines on the same weights, where their records are there.
#include <fmt/format.h>

#include <algorithm>

#include "report/facts.h"
#include "report/format.h"
#include "report/html.h"

namespace pare {
namespace {

bool has_peers(const Group& group) {
  return std::any_of(group.models.begin(), group.models.end(), [](const ModelFacts& m) {
    return std::any_of(m.latencies.begin(), m.latencies.end(),
                       [](const LatencyRecord& l) { return l.engine != "pare"; });
  });
}

std::string accuracy_of(const ModelFacts& model, const LatencyRecord& latency) {
  for (const AccuracyRecord& a : model.accuracies) {
    if (a.engine == latency.engine && a.precision == latency.precision) return percent_text(a.top1);
  }
  return "–";
}

// Our own time in the same setting: on the same device, there in the same precision.
const LatencyRecord* own_beside(const ModelFacts& model, const LatencyRecord& l) {
  if (l.device.empty()) return model.latency(l.batch, l.threads);
  for (const LatencyRecord* own : model.device_latencies(l.batch)) {
    if (own->device == l.device && own->precision == l.precision) return own;
  }
  return nullptr;
}

std::vector<std::vector<Cell>> engine_rows(const ModelFacts& model) {
  std::vector<const LatencyRecord*> all;
  for (const LatencyRecord& l : model.latencies) all.push_back(&l);
  std::stable_sort(all.begin(), all.end(), [](const LatencyRecord* a, const LatencyRecord* b) {
    return std::tie(a->batch, a->threads, a->latency_us_p50) <
           std::tie(b->batch, b->threads, b->latency_us_p50);
  });
  std::vector<std::vector<Cell>> rows;
  for (const LatencyRecord* l : all) {
    const LatencyRecord* own = own_beside(model, *l);
    const bool compare = own != nullptr && own != l;
    rows.push_back(
        {{.text = model.name(), .header = true},
         {.text = fmt::format("{}, {}", l->batch, l->threads), .number = true},
         {.text = l->engine + (l->engine_version.empty() ? "" : " " + l->engine_version) +
                  (l->device.empty() ? "" : " on " + l->device)},
         {.text = l->precision},
         {.text = accuracy_of(model, *l), .number = true},
         {.text = duration_text(l->latency_us_p50),
          .note = "p99 " + duration_text(l->latency_us_p99),
          .number = true},
         {.text = fmt::format("{:.0f}", l->images_per_s), .number = true},
         {.text = compare ? factor_text(l->latency_us_p50 / own->latency_us_p50) : "–",
          .number = true}});
  }
  return rows;
}

}  // namespace

std::string make_engines_section(const Facts& facts) {
  std::string out;
  for (const Group& group : facts.groups) {
    if (!has_peers(group)) continue;
    std::vector<std::vector<Cell>> rows;
    for (const ModelFacts& model : group.models) {
      for (auto& row : engine_rows(model)) rows.push_back(std::move(row));
    }
    out += fmt::format("<h3>{}</h3>\n", escape_html(group.title())) +
           html_table("Engines on " + group.title(),
                      {"Variant", "Batch, threads", "Engine", "Precision", "Top-1", "Median",
                       "Images/s", "Time over Pare's"},
                      rows);
  }
  if (out.empty()) return "";
  return html_paragraph(
             "The same files and the same images in other programs. Last column: above 1 Pare is "
             "faster.") +
         out;
}

}  // namespace pare
