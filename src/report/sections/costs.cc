// What each variant costs and gains, in sentences computed from the records.
#include <fmt/format.h>

#include <algorithm>

#include "report/facts.h"
#include "report/format.h"
#include "report/html.h"

namespace pare {
namespace {

// The level below which a difference is called larger than chance explains.
constexpr double kSignificance = 0.05;

std::string size_sentence(const Group& group, const ModelFacts& model) {
  const SizeRecord* file = model.file();
  const Comparison& c = model.against_baseline;
  if (file == nullptr || !c.smaller) return "";
  const SizeRecord* base = group.base().onnx_file ? &*group.base().onnx_file : group.base().file();
  const std::string both =
      fmt::format("{} as .{} instead of {} as .{}", bytes_text(file->file_bytes), file->format,
                  bytes_text(base->file_bytes), base->format);
  if (*c.smaller >= 1.005) return fmt::format("{}: {} smaller. ", both, factor_text(*c.smaller));
  return fmt::format("{}: no smaller. ", both);
}

std::string speed_sentence(const Group& group, const ModelFacts& model) {
  std::string out;
  for (const int64_t threads : group.threads()) {
    for (const int64_t batch : group.batches()) {
      const auto speedup = group.speedup(model, batch, threads);
      if (!speedup) continue;
      const std::string times = fmt::format(
          "{} instead of {}", duration_text(model.latency(batch, threads)->latency_us_p50),
          duration_text(group.base().latency(batch, threads)->latency_us_p50));
      std::string verdict = "about as fast";
      if (*speedup >= 1.05) verdict = factor_text(*speedup) + " faster";
      if (*speedup <= 0.95) verdict = factor_text(1 / *speedup) + " slower";
      if (!out.empty()) out += "; ";
      out += fmt::format("batch {} on {} thread{} {}, {}", batch, threads, threads == 1 ? "" : "s",
                         verdict, times);
    }
  }
  return out.empty() ? "" : "Time: " + out + ". ";
}

std::string accuracy_sentence(const Group& group, const ModelFacts& model) {
  const Comparison& c = model.against_baseline;
  if (!c.top1_change) return "";
  std::string out =
      fmt::format("Top-1 is {} against {} ({} points", percent_text(model.accuracy()->top1),
                  percent_text(group.base().accuracy()->top1), points_text(*c.top1_change));
  if (c.top1_change_interval) {
    out += fmt::format("; 95 % interval {} to {}", points_text(c.top1_change_interval->low),
                       points_text(c.top1_change_interval->high));
  }
  out += ")";
  if (c.mcnemar_p) {
    out +=
        *c.mcnemar_p < kSignificance
            ? fmt::format(", more than chance would make (McNemar {})", p_value_text(*c.mcnemar_p))
            : fmt::format(", a difference that chance alone could make (McNemar {})",
                          p_value_text(*c.mcnemar_p));
  }
  return out + ". ";
}

std::string class_sentence(const ModelFacts& model) {
  const auto& changes = model.against_baseline.class_changes;
  if (changes.empty()) return "";
  const Comparison& c = model.against_baseline;
  std::string out = fmt::format("{} of the answers differ. ", percent_text(c.flips.value_or(0)));
  const auto worst = std::min_element(changes.begin(), changes.end());
  if (*worst < 0) {
    out += fmt::format("The class that loses most is {}: {} points.",
                       model.predictions->classes[static_cast<size_t>(worst - changes.begin())],
                       points_text(*worst));
  } else {
    out += "No class loses.";
  }
  return out;
}

}  // namespace

std::string make_costs_section(const Facts& facts) {
  std::string out;
  for (const Group& group : facts.groups) {
    std::string items;
    for (const ModelFacts& model : group.models) {
      if (&model == &group.base()) continue;
      const std::string gains = size_sentence(group, model) + speed_sentence(group, model);
      const std::string costs = accuracy_sentence(group, model) + class_sentence(model);
      if (gains.empty() && costs.empty()) continue;
      items += fmt::format("<dt>{}</dt><dd>{}{}</dd>\n", escape_name(model.name()),
                           gains.empty() ? "" : html_paragraph(gains),
                           costs.empty() ? "" : html_paragraph(costs));
    }
    if (!items.empty())
      out += fmt::format("<h3>{}</h3><dl class=\"costs\">{}</dl>\n", escape_html(group.title()),
                         items);
  }
  return out;
}

}  // namespace pare
