// Accuracy against latency and against size, with the Pareto front, and the table of both.
#include <fmt/format.h>

#include <algorithm>

#include "report/facts.h"
#include "report/format.h"
#include "report/html.h"

namespace pare {
namespace {

// The markers' groups: what was done to the model, not how much of it.
std::string family(const std::string& variant) {
  const bool pruned = variant.find("prune") != std::string::npos;
  const bool integer = variant.find("int") != std::string::npos;
  if (pruned) return integer ? "pruned and quantised" : "pruned";
  if (integer) return "integers";
  if (variant.find("16") != std::string::npos) return "half precision";
  return "unchanged";
}

Json point(const std::string& label, const std::string& kind, const AccuracyRecord& a, double x,
           const std::string& x_text) {
  Json tip = {
      fmt::format("top-1 {} ({:.2f} to {:.2f})", percent_text(a.top1), a.top1_low, a.top1_high),
      x_text};
  return {{"label", label},    {"family", kind},      {"x", x},    {"y", a.top1},
          {"low", a.top1_low}, {"high", a.top1_high}, {"tip", tip}};
}

// `value` gives a model's x and its text; models without one are left out.
template <class Value>
Json view(const Group& group, const std::string& name, Value value) {
  Json points = Json::array();
  std::vector<TradeoffPoint> plain;
  for (const ModelFacts& model : group.models) {
    if (model.accuracy() == nullptr) continue;
    const auto [x, text] = value(model);
    if (x <= 0) continue;
    points.push_back(point(model.name(), family(model.name()), *model.accuracy(), x, text));
    plain.push_back({x, model.accuracy()->top1});
  }
  return {{"name", name}, {"points", points}, {"front", pareto_front(plain)}};
}

std::string latency_text(const LatencyRecord& l) {
  return fmt::format("{} (p99 {}), {:.0f} images/s", duration_text(l.latency_us_p50),
                     duration_text(l.latency_us_p99), l.images_per_s);
}

// Processor and other devices in one chart: a point for each precision that a device was timed in.
Json devices_view(const Group& group, int64_t batch, int64_t threads) {
  Json points = Json::array();
  std::vector<TradeoffPoint> plain;
  const auto add = [&](const ModelFacts& m, const LatencyRecord& l, const AccuracyRecord& a) {
    const bool device = !l.device.empty();
    const std::string where = device ? fmt::format(" on {}, {}", l.device, l.precision) : "";
    const double ms = l.latency_us_p50 / 1000;
    points.push_back(
        point(m.name() + where, device ? l.device : family(m.name()), a, ms, latency_text(l)));
    plain.push_back({ms, a.top1});
  };
  bool any_device = false;
  for (const ModelFacts& model : group.models) {
    if (model.accuracy() == nullptr) continue;
    if (const LatencyRecord* l = model.latency(batch, threads)) add(model, *l, *model.accuracy());
    for (const LatencyRecord* l : model.device_latencies(batch)) {
      add(model, *l, *model.accuracy_in(l->precision));
      any_device = true;
    }
  }
  if (!any_device) return nullptr;
  return {{"name", fmt::format("batch {}, all devices", batch)},
          {"points", points},
          {"front", pareto_front(plain)}};
}

std::string front_text(const Json& view) {
  std::string out = "On the Pareto front: ";
  for (size_t i = 0; i < view["front"].size(); ++i) {
    if (i > 0) out += ", ";
    out += view["points"][view["front"][i].get<size_t>()]["label"].get<std::string>();
  }
  return out + ".";
}

std::string latency_chart(const Group& group) {
  Json views = Json::array();
  const int64_t most_threads = group.threads().empty() ? 1 : group.threads().back();
  for (const int64_t batch : group.batches()) {
    Json made = devices_view(group, batch, most_threads);
    if (!made.is_null() && made["points"].size() > 1) views.push_back(std::move(made));
  }
  if (group.models.size() < 2 && views.empty()) return "";  // one point is no trade-off
  for (const int64_t threads : group.threads()) {
    for (const int64_t batch : group.batches()) {
      const Json made =
          view(group,
               fmt::format("batch {}", batch) +
                   (group.threads().size() == 1 ? "" : fmt::format(", {} threads", threads)),
               [&](const ModelFacts& m) {
                 const LatencyRecord* l = m.latency(batch, threads);
                 if (l == nullptr) return std::pair<double, std::string>{0, ""};
                 return std::pair<double, std::string>{l->latency_us_p50 / 1000, latency_text(*l)};
               });
      if (!made["points"].empty()) views.push_back(made);
    }
  }
  if (views.empty()) return "";
  const Json spec = {
      {"type", "tradeoff"},
      {"x", "median time of one batch" +
                (group.threads().size() == 1 ? fmt::format(" on {} threads", group.threads()[0])
                                             : std::string()) +
                ", ms"},
      {"y", "top-1, %"},
      {"views", views}};
  return html_chart("Accuracy and time", group.title(),
                    "Top-1 accuracy against the median time of a batch. " + front_text(views[0]) +
                        " The table below has every figure.",
                    spec);
}

std::string size_chart(const Group& group) {
  if (group.models.size() < 2) return "";
  Json views = Json::array();
  for (const bool packed : {true, false}) {
    const Json made = view(group, packed ? ".pare file" : ".onnx file", [&](const ModelFacts& m) {
      const auto& file = packed ? m.pare_file : m.onnx_file;
      if (!file) return std::pair<double, std::string>{0, ""};
      return std::pair<double, std::string>{static_cast<double>(file->file_bytes) / 1e6,
                                            bytes_text(file->file_bytes) + " as ." + file->format};
    });
    if (!made["points"].empty()) views.push_back(made);
  }
  if (views.empty()) return "";
  const Json spec = {{"type", "tradeoff"}, {"x", "file, MB"}, {"y", "top-1, %"}, {"views", views}};
  return html_chart("Accuracy and size", group.title(),
                    "Top-1 accuracy against the size of the file. " + front_text(views[0]) +
                        " The table below has every figure.",
                    spec);
}

Cell number(std::string text, std::string note = "") {
  return {.text = std::move(text), .note = std::move(note), .number = true};
}

std::vector<Cell> table_row(const Group& group, const ModelFacts& model,
                            const std::vector<int64_t>& batches, int64_t threads) {
  const Comparison& c = model.against_baseline;
  std::vector<Cell> row{{.text = model.name(), .header = true}};
  if (const AccuracyRecord* a = model.accuracy()) {
    row.push_back(
        number(percent_text(a->top1), fmt::format("{:.2f} to {:.2f}", a->top1_low, a->top1_high)));
    row.push_back(number(percent_text(a->top5)));
  } else {
    row.insert(row.end(), 2, number("–"));
  }
  if (&model == &group.base()) {
    row.insert(row.end(), 2, number("–"));
  } else {
    row.push_back(number(c.top1_change ? points_text(*c.top1_change) : "–",
                         c.mcnemar_p ? p_value_text(*c.mcnemar_p) : ""));
    row.push_back(number(c.flips ? percent_text(*c.flips) : "–"));
  }
  row.push_back(number(model.pare_file ? bytes_text(model.pare_file->file_bytes) : "–",
                       c.smaller && model.pare_file ? factor_text(*c.smaller) + " smaller" : ""));
  row.push_back(number(model.onnx_file ? bytes_text(model.onnx_file->file_bytes) : "–"));
  for (const int64_t batch : batches) {
    const LatencyRecord* l = model.latency(batch, threads);
    const auto speedup = group.speedup(model, batch, threads);
    row.push_back(number(l != nullptr ? duration_text(l->latency_us_p50) : "–",
                         speedup && &model != &group.base() ? factor_text(*speedup) : ""));
  }
  const LatencyRecord* largest = batches.empty() ? nullptr : model.latency(batches.back(), threads);
  row.push_back(number(largest != nullptr ? bytes_text(largest->peak_bytes) : "–"));
  return row;
}

std::string tradeoff_table(const Group& group) {
  const std::vector<int64_t> batches = group.batches();
  const int64_t threads = group.threads().empty() ? 1 : group.threads().back();
  std::vector<std::string> columns = {"Variant",         "Top-1", "Top-5", "Change",
                                      "Answers changed", ".pare", ".onnx"};
  for (const int64_t batch : batches) columns.push_back(fmt::format("Batch {}", batch));
  columns.emplace_back("Memory");
  std::vector<std::vector<Cell>> rows;
  for (const ModelFacts& model : group.models)
    rows.push_back(table_row(group, model, batches, threads));
  return html_table("All variants of " + group.title(), columns, rows);
}

// A baseline whose .pare file is already far smaller than float32 needs: without a word, half
// precision would seem to make it larger.
std::string coarse_baseline_note(const Group& group) {
  constexpr double kFarSmaller = 2.5;
  const ModelFacts& base = group.base();
  if (!base.pare_file || !base.onnx_file) return "";
  const double ratio = static_cast<double>(base.onnx_file->file_bytes) /
                       static_cast<double>(base.pare_file->file_bytes);
  if (ratio < kFarSmaller || base.name() != "fp32") return "";
  return html_paragraph(
      fmt::format("The baseline itself takes {} as .pare, {} less than as .onnx: its weights hold "
                  "few different values (those of the zoo are rounded to 8 bits a channel), which "
                  "a .pare file makes use of. So here fewer bits a weight show in the .onnx files "
                  "and in the times, hardly in the .pare files.",
                  bytes_text(base.pare_file->file_bytes), factor_text(ratio)),
      "quiet");
}

// Whether anything was measured that this section shows; layers alone have one of their own.
bool is_measured(const Group& group) {
  return std::any_of(group.models.begin(), group.models.end(), [](const ModelFacts& m) {
    return m.accuracy() != nullptr || !m.latencies.empty() || m.file() != nullptr;
  });
}

}  // namespace

std::string make_tradeoff_section(const Facts& facts) {
  std::string out;
  for (const Group& group : facts.groups) {
    if (!is_measured(group)) continue;
    out +=
        fmt::format("<h3>{}</h3>\n<div class=\"pair\">{}{}</div>\n{}", escape_html(group.title()),
                    latency_chart(group), size_chart(group), tradeoff_table(group)) +
        coarse_baseline_note(group);
  }
  if (out.empty()) return "";
  return html_paragraph(
             "Up and to the left is better. The stepped line is the Pareto front: for each variant "
             "on it, none is "
             "both better and cheaper. Bars are 95 % Wilson intervals. Click or tap a chart's "
             "buttons to change what it "
             "shows; hover over a point, or focus the chart and use the arrow keys, for its "
             "figures.") +
         out +
         html_paragraph(
             "Change: percentage points of top-1 against the baseline on the same images, with "
             "McNemar's exact "
             "p-value. Answers changed: share of images with another top-1 answer, right or wrong. "
             ".pare: Pare's packed "
             "file, and how much smaller it is than the baseline's ONNX file. Batch columns: "
             "median time of one batch, "
             "and how many times faster than the baseline. Memory: activations, packed weights and "
             "scratch at the "
             "largest batch.",
             "quiet");
}

}  // namespace pare
