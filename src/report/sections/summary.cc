// In short: the best buys of each network, chosen by rules that are stated beside them.
#include <fmt/format.h>

#include <string>
#include <string_view>

#include "report/facts.h"
#include "report/format.h"
#include "report/html.h"

namespace pare {
namespace {

// A variant is worth naming here while it loses at most this much top-1.
constexpr double kAllowedLoss = 0.5;

bool accurate_enough(const ModelFacts& model) {
  return model.against_baseline.top1_change && *model.against_baseline.top1_change >= -kAllowedLoss;
}

// No line begins with the sign of a number on the line before.
std::string with_unbroken_percents(std::string text) {
  constexpr std::string_view kBreaking = " %";
  for (size_t at = text.find(kBreaking); at != std::string::npos; at = text.find(kBreaking, at)) {
    text.replace(at, kBreaking.size(), "\u00a0%");
  }
  return text;
}

std::string card(const std::string& figure, const std::string& what, const std::string& detail) {
  return fmt::format("<li><strong>{}</strong><span>{}</span><small>{}</small></li>",
                     escape_html(figure), escape_html(what),
                     escape_html(with_unbroken_percents(detail)));
}

std::string accuracy_detail(const ModelFacts& model) {
  return fmt::format("{}: top-1 {}, {} points", model.name(), percent_text(model.accuracy()->top1),
                     points_text(*model.against_baseline.top1_change));
}

std::string smallest_card(const Group& group) {
  const ModelFacts* best = nullptr;
  for (const ModelFacts& model : group.models) {
    if (&model == &group.base() || !accurate_enough(model) || !model.against_baseline.smaller)
      continue;
    if (best == nullptr || *model.against_baseline.smaller > *best->against_baseline.smaller)
      best = &model;
  }
  if (best == nullptr) return "";
  return card(factor_text(*best->against_baseline.smaller),
              "smaller: " + bytes_text(best->file()->file_bytes), accuracy_detail(*best));
}

std::string fastest_card(const Group& group, int64_t batch, int64_t threads) {
  const ModelFacts* best = nullptr;
  double best_speedup = 0;
  for (const ModelFacts& model : group.models) {
    const auto speedup = group.speedup(model, batch, threads);
    if (&model == &group.base() || !accurate_enough(model) || !speedup) continue;
    if (*speedup > best_speedup) {
      best = &model;
      best_speedup = *speedup;
    }
  }
  constexpr double kLeast = 1.005;  // what would be shown as 1.00 is no gain
  if (best == nullptr || best_speedup < kLeast) return "";
  return card(factor_text(best_speedup),
              fmt::format("faster: {} at batch {}",
                          duration_text(best->latency(batch, threads)->latency_us_p50), batch),
              accuracy_detail(*best));
}

}  // namespace

std::string make_summary_section(const Facts& facts) {
  std::string out;
  for (const Group& group : facts.groups) {
    const AccuracyRecord* base = group.base().accuracy();
    if (base == nullptr) continue;
    std::string cards =
        card(percent_text(base->top1), "top-1 of " + group.base().name(),
             fmt::format("95 % interval {:.2f} to {:.2f} %; top-5 {}", base->top1_low,
                         base->top1_high, percent_text(base->top5)));
    cards += smallest_card(group);
    if (!group.threads().empty()) {
      for (const int64_t batch : group.batches())
        cards += fastest_card(group, batch, group.threads().back());
    }
    out +=
        fmt::format("<h3>{}</h3><ul class=\"cards\">{}</ul>\n", escape_html(group.title()), cards);
  }
  if (out.empty()) return "";
  return html_paragraph(
             fmt::format(
                 "Of the variants that lose at most {} points of top-1 accuracy: the smallest "
                 "file, against the baseline's ONNX file, and the shortest time, against the "
                 "baseline's.",
                 kAllowedLoss),
             "lead") +
         out;
}

}  // namespace pare
