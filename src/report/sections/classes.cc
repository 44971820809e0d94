// Damage by class: a heat map of each variant's change against the baseline.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/facts.h"
#include "report/format.h"
#include "report/html.h"

namespace pare {
namespace {

// With more classes than this the map shows those that change most in any variant.
constexpr size_t kMaxRows = 20;
// Full colour at this many points, so that small changes stay pale in every report.
constexpr double kFullColour = 20.0;

std::vector<size_t> classes_to_show(const Group& group, size_t count) {
  std::vector<double> largest(count, 0);
  for (const ModelFacts& model : group.models) {
    const auto& changes = model.against_baseline.class_changes;
    for (size_t c = 0; c < changes.size() && c < count; ++c)
      largest[c] = std::max(largest[c], std::abs(changes[c]));
  }
  std::vector<size_t> order(count);
  for (size_t c = 0; c < count; ++c) order[c] = c;
  if (count <= kMaxRows) return order;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return largest[a] > largest[b]; });
  order.resize(kMaxRows);
  return order;
}

std::string one_decimal(double points) {
  std::string size = fmt::format("{:.1f}", std::abs(points));
  if (size == "0.0") return size;
  return (points < 0 ? "−" : "+") + size;
}

Cell change_cell(double change) {
  const double strength = std::sqrt(std::min(1.0, std::abs(change) / kFullColour));
  return {.text = one_decimal(change),
          .number = true,
          .css_class = change < 0 ? "heat loss" : "heat gain",
          .style = fmt::format("--v:{:.2f}", 0.6 * strength)};
}

std::string damage_table(const Group& group) {
  const auto& base = group.base().predictions;
  if (!base) return "";
  const std::vector<size_t> shown = classes_to_show(group, base->classes.size());
  std::vector<std::string> columns = {"Variant"};
  for (const size_t c : shown) columns.push_back(base->classes[c]);
  std::vector<int64_t> images(base->classes.size()), right(base->classes.size());
  for (size_t i = 0; i < base->labels.size(); ++i) {
    const auto label = static_cast<size_t>(base->labels[i]);
    images[label] += 1;
    right[label] += base->predicted[i] == base->labels[i] ? 1 : 0;
  }
  std::vector<std::vector<Cell>> rows;
  rows.push_back({{.text = group.base().name() + ", %", .header = true}});
  for (const size_t c : shown) {
    const double share =
        images[c] == 0 ? 0 : 100.0 * static_cast<double>(right[c]) / static_cast<double>(images[c]);
    rows[0].push_back({.text = fmt::format("{:.1f}", share), .number = true});
  }
  for (const ModelFacts& model : group.models) {
    const auto& changes = model.against_baseline.class_changes;
    if (&model == &group.base() || changes.empty()) continue;
    rows.push_back({{.text = model.name(), .header = true}});
    for (const size_t c : shown) rows.back().push_back(change_cell(changes[c]));
  }
  if (rows.size() < 2) return "";
  std::string out = fmt::format("<h3>{}</h3>\n", escape_html(group.title()));
  out += html_table("Change of each class's accuracy, percentage points: " + group.title(), columns,
                    rows, "heat-map");
  if (shown.size() < base->classes.size()) {
    out += html_paragraph(
        fmt::format("The {} of {} classes that change most.", shown.size(), base->classes.size()),
        "quiet");
  }
  return out;
}

}  // namespace

std::string make_classes_section(const Facts& facts) {
  std::string out;
  for (const Group& group : facts.groups) out += damage_table(group);
  if (out.empty()) return "";
  return html_paragraph(
             "An average hides who pays. First row: the baseline's accuracy in each class; below "
             "it, each "
             "variant's change in percentage points.") +
         out;
}

}  // namespace pare
