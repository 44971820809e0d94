// Confusion: which classes each model takes for which. One matrix shows at a time (report.js makes
// the choice; without scripts all are there).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/facts.h"
#include "report/format.h"
#include "report/html.h"

namespace pare {
namespace {

constexpr size_t kMaxClasses = 20;  // above, the most confused pairs are listed instead
constexpr size_t kMaxPairs = 20;

using Matrix = std::vector<std::vector<int64_t>>;

Matrix confusion_matrix(const PredictionsRecord& p) {
  Matrix counts(p.classes.size(), std::vector<int64_t>(p.classes.size()));
  for (size_t i = 0; i < p.labels.size(); ++i) {
    counts[static_cast<size_t>(p.labels[i])][static_cast<size_t>(p.predicted[i])] += 1;
  }
  return counts;
}

std::string matrix_table(const PredictionsRecord& p, const std::string& caption) {
  const Matrix counts = confusion_matrix(p);
  std::vector<std::string> columns = {"true ↓ answer →"};
  columns.insert(columns.end(), p.classes.begin(), p.classes.end());
  std::vector<std::vector<Cell>> rows;
  for (size_t i = 0; i < counts.size(); ++i) {
    int64_t total = 0;
    for (const int64_t n : counts[i]) total += n;
    rows.push_back({{.text = p.classes[i], .header = true}});
    for (size_t k = 0; k < counts.size(); ++k) {
      const double share =
          total == 0 ? 0 : static_cast<double>(counts[i][k]) / static_cast<double>(total);
      rows.back().push_back(
          {.text = count_text(counts[i][k]),
           .number = true,
           .css_class = i == k ? "heat right" : "heat loss",
           .style = fmt::format("--v:{:.2f}", i == k ? 0.5 * share : 0.8 * std::sqrt(share))});
    }
  }
  return html_table(caption, columns, rows, "heat-map matrix");
}

std::string pairs_table(const PredictionsRecord& p, const std::string& caption) {
  struct Pair {
    size_t label, answer;
    int64_t count;
  };
  const Matrix counts = confusion_matrix(p);
  std::vector<Pair> pairs;
  for (size_t i = 0; i < counts.size(); ++i) {
    for (size_t k = 0; k < counts.size(); ++k) {
      if (i != k && counts[i][k] > 0) pairs.push_back({i, k, counts[i][k]});
    }
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const Pair& a, const Pair& b) { return a.count > b.count; });
  if (pairs.size() > kMaxPairs) pairs.resize(kMaxPairs);
  std::vector<std::vector<Cell>> rows;
  rows.reserve(pairs.size());
  for (const Pair& pair : pairs) {
    rows.push_back({{.text = p.classes[pair.label], .header = true},
                    {.text = p.classes[pair.answer]},
                    {.text = count_text(pair.count), .number = true}});
  }
  return html_table(caption, {"True class", "Answer", "Images"}, rows);
}

}  // namespace

std::string make_confusion_section(const Facts& facts) {
  std::string out;
  for (const Group& group : facts.groups) {
    std::string matrices;
    for (const ModelFacts& model : group.models) {
      if (!model.predictions) continue;
      const std::string caption = fmt::format("{}: {}", group.title(), model.name());
      matrices +=
          fmt::format("<div class=\"option\" data-name=\"{}\">{}</div>", escape_html(model.name()),
                      model.predictions->classes.size() <= kMaxClasses
                          ? matrix_table(*model.predictions, caption)
                          : pairs_table(*model.predictions, caption));
    }
    if (matrices.empty()) continue;
    out += fmt::format("<h3>{}</h3>\n<div class=\"chooser\">{}</div>\n", escape_html(group.title()),
                       matrices);
  }
  if (out.empty()) return "";
  return html_paragraph("Rows are true classes, columns the model's answers; cells count images.") +
         out;
}

}  // namespace pare
