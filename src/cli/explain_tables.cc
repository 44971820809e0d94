#include "cli/explain_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/numerals.h"
#include "cli/table.h"
#include "report/format.h"

namespace pare {
namespace {

using Ordered = nlohmann::ordered_json;

std::string gain_text(double gain) { return gain > 0 ? fmt::format("{:.2f}x", gain) : ""; }
std::string time_text(double us) { return us > 0 ? duration_text(us) : "–"; }

Ordered ceilings_json(const CeilingsRecord& c) {
  Ordered reads = Ordered::array();
  for (size_t i = 0; i < c.read_bytes.size(); ++i) {
    reads.push_back({{"bytes", c.read_bytes[i]}, {"gb_s", c.read_gb_s[i]}});
  }
  Ordered json = {{"reads", std::move(reads)}, {"float32_gmac_s", c.float32_gmac_s}};
  if (c.bfloat16_gmac_s) json["bfloat16_gmac_s"] = *c.bfloat16_gmac_s;
  json["int8_gmac_s"] = c.int8_gmac_s;
  if (c.sparse_row_float32_gmac_s) json["sparse_row_float32_gmac_s"] = *c.sparse_row_float32_gmac_s;
  if (c.sparse_rows_float32_gmac_s) {
    json["sparse_rows_float32_gmac_s"] = *c.sparse_rows_float32_gmac_s;
  }
  if (c.sparse_row_int8_gmac_s) json["sparse_row_int8_gmac_s"] = *c.sparse_row_int8_gmac_s;
  if (c.sparse_rows_int8_gmac_s) json["sparse_rows_int8_gmac_s"] = *c.sparse_rows_int8_gmac_s;
  json["barrier_us"] = c.barrier_us;
  json["step_us"] = c.step_us;
  return json;
}

Ordered gain_json(const LayerGain& gain) {
  Ordered json = {{"name", gain.name}, {"operation", gain.operation}};
  if (gain.before_us > 0) json["before_us"] = gain.before_us;
  if (gain.after_us > 0) json["after_us"] = gain.after_us;
  if (gain.predicted > 0) json["predicted_gain"] = gain.predicted;
  if (gain.measured > 0) json["measured_gain"] = gain.measured;
  if (!gain.reason.empty()) json["gain_reason"] = gain.reason;
  return json;
}

void add_times(const TimedPlan& timed, size_t i, Ordered& layer) {
  layer["latency_us"] = timed.times_us[i];
  if (timed.limits.empty()) return;
  const LayerLimit& limit = timed.limits[i];
  layer["work_macs"] = limit.macs;
  layer["moved_bytes"] = limit.moved_bytes();
  layer["limit_us"] = limit.limit_us();
  layer["bound"] = limit.bound();
}

// The cells of --time behind those of the plan.
void add_time_cells(const TimedPlan& timed, size_t i, std::vector<std::string>& cells) {
  const double us = timed.times_us[i];
  cells.push_back(duration_text(us));
  cells.push_back(fmt::format("{:.1f} %", 100 * us / timed.total_us()));
  const double macs = timed.limits.empty() ? static_cast<double>(timed.layers[i].macs * timed.batch)
                                           : timed.limits[i].macs;
  cells.push_back(macs == 0 ? "" : fmt::format("{:.1f}", macs / us / 1e3));
  if (timed.limits.empty()) return;
  const LayerLimit& limit = timed.limits[i];
  cells.push_back(bytes_text(static_cast<int64_t>(limit.moved_bytes())));
  cells.emplace_back(limit.bound());
  cells.push_back(duration_text(limit.limit_us()));
  cells.push_back(fmt::format("{:.0f} %", 100 * limit.limit_us() / us));
}

std::string plan_table(const Explanation& e) {
  std::vector<Column> titles = {
      {"#"},       {"operation", Align::kLeft}, {"kernel", Align::kLeft}, {"MACs"}, {"weights"},
      {"not zero"}};
  if (e.timed) titles.insert(titles.end(), {{"time"}, {"share"}, {"GMAC/s"}});
  if (e.ceilings) {
    titles.insert(titles.end(), {{"moved"}, {"bound by", Align::kLeft}, {"limit"}, {"reached"}});
  }
  Table table(std::move(titles));
  for (size_t i = 0; i < e.layers.size(); ++i) {
    const LayerPlan& l = e.layers[i];
    const bool weights = l.weight_bytes > 0;
    std::vector<std::string> cells = {
        std::to_string(i + 1),
        l.operation,
        l.kernel,
        l.macs == 0 ? "" : with_thousands(l.macs),
        weights ? bytes_text(l.weight_bytes) : "",
        weights ? fmt::format("{:.0f} %", 100 * l.weight_density) : ""};
    if (e.timed) add_time_cells(*e.timed, i, cells);
    table.add(std::move(cells));
  }
  return table.text();
}

std::string sparse_text(const std::string& type, const std::optional<double>& row,
                        const std::optional<double>& rows) {
  if (!row || !rows) return "";
  return fmt::format(", pruned {} {:.1f} for one row and {:.0f} for many", type, *row, *rows);
}

void print_ceilings(const CeilingsRecord& c) {
  std::string reads;
  for (size_t i = 0; i < c.read_bytes.size(); ++i) {
    reads += fmt::format("{}{:.0f} at {}", reads.empty() ? "" : ", ", c.read_gb_s[i],
                         bytes_text(c.read_bytes[i]));
  }
  fmt::print(
      "ceilings of {} thread{} here: reading, GB/s: {}; GMAC/s: float32 {:.0f}{}, int8 {:.0f}{}{}; "
      "a step starts in {:.2f} µs, a barrier takes {:.2f} µs\n",
      c.threads, c.threads == 1 ? "" : "s", reads, c.float32_gmac_s,
      c.bfloat16_gmac_s ? fmt::format(", bfloat16 {:.0f}", *c.bfloat16_gmac_s) : "", c.int8_gmac_s,
      sparse_text("float32", c.sparse_row_float32_gmac_s, c.sparse_rows_float32_gmac_s),
      sparse_text("int8", c.sparse_row_int8_gmac_s, c.sparse_rows_int8_gmac_s), c.step_us,
      c.barrier_us);
}

void print_gain(const ExplainedModel& model, const PlanGain& gain) {
  Table table({{"#"},
               {"layer", Align::kLeft},
               {"operation", Align::kLeft},
               {"original"},
               {"now"},
               {"predicted"},
               {"measured"},
               {"why not faster", Align::kLeft}});
  for (size_t i = 0; i < gain.layers.size(); ++i) {
    const LayerGain& l = gain.layers[i];
    table.add({std::to_string(i + 1), l.name, l.operation, time_text(l.before_us),
               time_text(l.after_us), gain_text(l.predicted), gain_text(l.measured), l.reason});
  }
  fmt::print("\nagainst {}\n{}all of it: {:.2f}x as fast, predicted {:.2f}x\n", model.against,
             table.text(), gain.measured, gain.predicted);
}

}  // namespace

nlohmann::ordered_json explanation_json(const ExplainedModel& model, const Explanation& e) {
  Ordered layers = Ordered::array();
  for (size_t i = 0; i < e.layers.size(); ++i) {
    const LayerPlan& l = e.layers[i];
    layers.push_back({{"name", l.name},
                      {"operation", l.operation},
                      {"kernel", l.kernel},
                      {"reason", l.reason},
                      {"macs", l.macs},
                      {"weight_bytes", l.weight_bytes},
                      {"weight_density", l.weight_density}});
    if (e.timed) add_times(*e.timed, i, layers.back());
  }
  Ordered object = {{"model", model.name},
                    {"precision", model.precision},
                    {"batch", model.batch},
                    {"threads", model.threads},
                    {"weights_bytes", e.memory.weights_bytes},
                    {"arena_bytes", e.memory.arena_bytes},
                    {"scratch_bytes", e.memory.scratch_bytes},
                    {"layers", std::move(layers)}};
  if (e.ceilings) object["ceilings"] = ceilings_json(*e.ceilings);
  if (!e.gain) return object;
  Ordered gains = Ordered::array();
  for (const LayerGain& gain : e.gain->layers) gains.push_back(gain_json(gain));
  object["against"] = {{"model", model.against},
                       {"predicted_gain", e.gain->predicted},
                       {"measured_gain", e.gain->measured},
                       {"layers", std::move(gains)}};
  return object;
}

void print_explanation(const ExplainedModel& model, const Explanation& e) {
  fmt::print("{}\nwhy\n", plan_table(e));
  for (size_t i = 0; i < e.layers.size(); ++i) {
    fmt::print("{:3}  {}: {}\n", i + 1, e.layers[i].name, grouped_reasons(e.layers[i].reason));
  }
  fmt::print("\n{}, batch {}, {} threads: weights {}, arena {}, scratch {}\n", model.precision,
             model.batch, model.threads, bytes_text(e.memory.weights_bytes),
             bytes_text(e.memory.arena_bytes), bytes_text(e.memory.scratch_bytes));
  if (e.timed)
    fmt::print("time: {} a batch, median of ten rounds\n", duration_text(e.timed->total_us()));
  if (e.ceilings) print_ceilings(*e.ceilings);
  if (e.gain) print_gain(model, *e.gain);
}

std::string grouped_reasons(const std::string& reason) {
  std::vector<std::pair<std::string, std::string>> groups;  // the text, the kernels' names
  for (size_t at = 0; at < reason.size();) {
    const size_t end = std::min(reason.find("; ", at), reason.size());
    const std::string part = reason.substr(at, end - at);
    at = end + 2;
    const size_t colon = part.find(": ");
    const bool named = colon != std::string::npos && part.find(' ') > colon;
    const std::string text = named ? part.substr(colon + 2) : part;
    const std::string name = named ? part.substr(0, colon) : "";
    const auto same = std::ranges::find(groups, text, &std::pair<std::string, std::string>::first);
    if (same == groups.end() || !named) {
      groups.emplace_back(text, name);
    } else {
      same->second += ", " + name;
    }
  }
  std::string out;
  for (const auto& [text, names] : groups) {
    if (!out.empty()) out += "; ";
    out += text;
    if (!names.empty()) out += ": " + names;
  }
  return out;
}

void add_gain(const LayerGain& gain, LayerRecord& record) {
  if (gain.predicted > 0) record.predicted_gain = gain.predicted;
  if (gain.measured > 0) record.measured_gain = gain.measured;
  record.gain_reason = gain.reason;
}

}  // namespace pare
