// The trade-off tables as plain text.
#include <fmt/format.h>

#include <algorithm>

#include "report/facts.h"
#include "report/format.h"
#include "report/report.h"

namespace pare {
namespace {

using Row = std::vector<std::string>;

std::string aligned(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (size_t r = 0; r < rows.size(); ++r) {
    std::string line = fmt::format("{:<{}}", rows[r][0], widths[0]);
    for (size_t i = 1; i < rows[r].size(); ++i)
      line += fmt::format("  {:>{}}", rows[r][i], widths[i]);
    out += line + "\n";
    if (r == 0) out += std::string(line.size(), '-') + "\n";
  }
  return out;
}

Row table_row(const Group& group, const ModelFacts& model, int64_t threads) {
  const Comparison& c = model.against_baseline;
  const AccuracyRecord* a = model.accuracy();
  const bool base = &model == &group.base();
  Row row = {model.name()};
  row.push_back(a != nullptr
                    ? fmt::format("{:.2f} ({:.2f}-{:.2f})", a->top1, a->top1_low, a->top1_high)
                    : "-");
  row.push_back(!base && c.top1_change ? points_text(*c.top1_change) : "-");
  row.push_back(!base && c.mcnemar_p
                    ? (*c.mcnemar_p < 0.001 ? "<0.001" : fmt::format("{:.3f}", *c.mcnemar_p))
                    : "-");
  row.push_back(!base && c.flips ? fmt::format("{:.2f}", *c.flips) : "-");
  row.push_back(model.file() != nullptr ? bytes_text(model.file()->file_bytes) : "-");
  row.push_back(c.smaller ? factor_text(*c.smaller) : "-");
  for (const int64_t batch : group.batches()) {
    const LatencyRecord* l = model.latency(batch, threads);
    const auto speedup = group.speedup(model, batch, threads);
    row.push_back(l != nullptr ? duration_text(l->latency_us_p50) : "-");
    row.push_back(speedup ? factor_text(*speedup) : "-");
  }
  for (std::string& cell : row) cell = ascii(cell);
  return row;
}

}  // namespace

Result<std::string> make_text_tables(const std::vector<Record>& records) {
  PARE_ASSIGN_OR_RETURN(const Facts facts, gather_facts(records));
  std::string out;
  for (const Group& group : facts.groups) {
    const int64_t threads = group.threads().empty() ? 1 : group.threads().back();
    Row header = {"variant", "top-1 % (95 %)", "change", "p", "flips %", "file", "smaller"};
    for (const int64_t batch : group.batches()) {
      header.push_back(fmt::format("batch {}", batch));
      header.emplace_back("faster");
    }
    std::vector<Row> rows = {header};
    for (const ModelFacts& model : group.models) rows.push_back(table_row(group, model, threads));
    out += (out.empty() ? "" : "\n") + ascii(group.title()) + "\n" + aligned(rows);
  }
  return out;
}

}  // namespace pare
