// Layer by layer: what runs each layer and why, what it holds, how its time stands to what the
// machine allows, and what compression gave it.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <tuple>

#include "report/facts.h"
#include "report/format.h"
#include "report/html.h"

namespace pare {
namespace {

// The layers of one model that were timed together; {} those that were not timed.
using Setting = std::tuple<std::optional<int64_t>, std::optional<int64_t>>;  // batch, threads
using Layers = std::vector<const LayerRecord*>;

std::map<Setting, Layers> by_setting(const ModelFacts& model) {
  std::map<Setting, Layers> settings;
  for (const LayerRecord& layer : model.layers) {
    settings[{layer.batch, layer.threads}].push_back(&layer);
  }
  return settings;
}

std::string setting_text(const Setting& setting) {
  const auto& [batch, threads] = setting;
  if (!batch || !threads) return "";
  return fmt::format(", batch {} on {} thread{}", *batch, *threads, *threads == 1 ? "" : "s");
}

Cell figure(std::string text, std::string note = "") {
  return {.text = std::move(text), .note = std::move(note), .number = true};
}
Cell whole(const std::optional<int64_t>& n) { return figure(n ? count_text(*n) : "–"); }

// A column, and whether it says anything about some layer.
struct LayerColumn {
  std::string title;
  bool (*known)(const LayerRecord&);
  std::function<Cell(const LayerRecord&)> cell;
};

Cell limit_cell(const LayerRecord& l) {
  if (!l.limit_us || !l.latency_us || *l.latency_us <= 0) return figure("–");
  return figure(fmt::format("{:.0f} %", 100 * *l.limit_us / *l.latency_us),
                fmt::format("of {}, by {}", duration_text(*l.limit_us), l.bound));
}

Cell gain_cell(const LayerRecord& l) {
  const std::string predicted =
      l.predicted_gain ? "predicted " + factor_text(*l.predicted_gain) : "";
  return figure(l.measured_gain ? factor_text(*l.measured_gain) : "–", predicted);
}

std::vector<LayerColumn> layer_columns(double total_us) {
  return {
      {"Layer", [](const LayerRecord&) { return true; },
       [](const LayerRecord& l) {
         return Cell{.text = l.name, .note = l.operation, .header = true};
       }},
      {"Kernel and why", [](const LayerRecord& l) { return !l.kernel.empty(); },
       [](const LayerRecord& l) {
         return Cell{
             .text = l.kernel.empty() ? "–" : l.kernel, .note = l.reason, .css_class = "wide"};
       }},
      {"MACs", [](const LayerRecord& l) { return l.macs.has_value(); },
       [](const LayerRecord& l) { return whole(l.macs); }},
      {"Weights", [](const LayerRecord& l) { return l.weight_bytes.has_value(); },
       [](const LayerRecord& l) {
         return figure(l.weight_bytes ? bytes_text(*l.weight_bytes) : "–");
       }},
      {"Not zero", [](const LayerRecord& l) { return l.weight_density.has_value(); },
       [](const LayerRecord& l) {
         return figure(l.weight_density ? fmt::format("{:.1f} %", 100 * *l.weight_density) : "–");
       }},
      {"Moved", [](const LayerRecord& l) { return l.moved_bytes.has_value(); },
       [](const LayerRecord& l) {
         return figure(l.moved_bytes ? bytes_text(static_cast<int64_t>(*l.moved_bytes)) : "–");
       }},
      {"Time", [](const LayerRecord& l) { return l.latency_us.has_value(); },
       [total_us](const LayerRecord& l) {
         if (!l.latency_us) return figure("–");
         return figure(duration_text(*l.latency_us),
                       fmt::format("{:.1f} %", 100 * *l.latency_us / total_us));
       }},
      {"Of its limit", [](const LayerRecord& l) { return l.limit_us.has_value(); }, limit_cell},
      {"Gain",
       [](const LayerRecord& l) { return l.measured_gain.has_value() || !l.gain_reason.empty(); },
       gain_cell},
      {"Why no gain", [](const LayerRecord& l) { return !l.gain_reason.empty(); },
       [](const LayerRecord& l) { return Cell{.text = l.gain_reason, .css_class = "wide"}; }},
      {"Alone", [](const LayerRecord& l) { return l.sensitivity.has_value(); },
       [](const LayerRecord& l) {
         return figure(l.sensitivity ? points_text(-*l.sensitivity) : "–");
       }}};
}

double total_us(const Layers& layers) {
  double total = 0;
  for (const LayerRecord* l : layers) total += l->latency_us.value_or(0);
  return total;
}

std::string layer_table(const std::string& caption, const Layers& layers) {
  std::vector<LayerColumn> shown = layer_columns(total_us(layers));
  std::erase_if(shown, [&layers](const LayerColumn& column) {
    return std::ranges::none_of(layers, [&](const LayerRecord* l) { return column.known(*l); });
  });
  std::vector<std::string> titles;
  titles.reserve(shown.size());
  for (const LayerColumn& column : shown) titles.push_back(column.title);
  std::vector<std::vector<Cell>> rows;
  for (const LayerRecord* l : layers) {
    auto& row = rows.emplace_back();
    for (const LayerColumn& column : shown) row.push_back(column.cell(*l));
  }
  return html_table(caption, titles, rows);
}

// --- The roofline ---

double intensity(const LayerRecord& l) { return *l.work_macs / *l.moved_bytes; }
double gmac_s(const LayerRecord& l) { return *l.work_macs / *l.latency_us / 1e3; }

// Weights that have to be found among zeros have a level of their own.
void add_pruned_peak(const CeilingsRecord& c, const LayerRecord& l,
                     std::map<std::string, double>& peaks) {
  if (l.kernel.find("_sparse_") == std::string::npos) return;
  const auto& rate =
      l.arithmetic == "int8" ? c.sparse_rows_int8_gmac_s : c.sparse_rows_float32_gmac_s;
  if (rate) peaks["pruned " + l.arithmetic] = *rate;
}

bool has_place(const LayerRecord& l) {
  return l.work_macs.value_or(0) > 0 && l.moved_bytes.value_or(0) > 0 &&
         l.latency_us.value_or(0) > 0 && l.limit_us.has_value();
}

// A layer is named on the chart where it takes so much of the time; the others when pointed at.
constexpr double kNamed = 0.05;

Json layer_point(const LayerRecord& l, double total_us) {
  const double share = *l.latency_us / total_us;
  return {{"name", l.name},
          {"label", share >= kNamed ? l.name : ""},
          {"share", share},
          {"family", l.arithmetic},
          {"x", intensity(l)},
          {"y", gmac_s(l)},
          {"tip",
           {l.operation, l.kernel,
            fmt::format("{}, {:.0f} % of its limit, bound by {}", duration_text(*l.latency_us),
                        100 * *l.limit_us / *l.latency_us, l.bound),
            fmt::format("{:.1f} GMAC/s, {:.2f} multiply-adds a byte", gmac_s(l), intensity(l))}}};
}

Json roof(const std::string& label, const std::vector<std::pair<double, double>>& points) {
  Json at = Json::array();
  for (const auto& [x, y] : points) at.push_back({x, y});
  return {{"label", label}, {"points", at}};
}

// What the machine allows between `low` and `high` multiply-adds a byte: a slope for each of its
// caches' rates, up to the highest of the peaks shown, and a level for each peak.
Json roofs(const CeilingsRecord& c, const std::map<std::string, double>& peaks, double low,
           double high) {
  double top = 0;
  for (const auto& [arithmetic, peak] : peaks) top = std::max(top, peak);
  Json all = Json::array();
  const auto slope = [&](size_t i, const std::string& what) {
    const double rate = c.read_gb_s[i];
    if (low * rate >= top) return;  // it meets the peak before anything that is shown
    const double end = std::min(high, top / rate);
    all.push_back(
        roof(fmt::format("{}, {:.0f} GB/s", what, rate), {{low, low * rate}, {end, end * rate}}));
  };
  const size_t last = c.read_gb_s.size() - 1;
  const auto fastest = std::ranges::max_element(c.read_gb_s) - c.read_gb_s.begin();
  slope(last, "memory");
  if (last > 0) slope(static_cast<size_t>(fastest), "nearest cache");
  for (const auto& [arithmetic, peak] : peaks) {
    const double begin =
        std::min(high, std::max(low, peak / *std::ranges::max_element(c.read_gb_s)));
    all.push_back(
        roof(fmt::format("{}, {:.0f} GMAC/s", arithmetic, peak), {{begin, peak}, {high, peak}}));
  }
  return all;
}

Json roofline_view(const std::string& name, const CeilingsRecord& ceilings, const Layers& layers) {
  Json points = Json::array();
  std::map<std::string, double> peaks;
  double low = 1e300;
  double high = 0;
  const double whole_us = total_us(layers);
  for (const LayerRecord* l : layers) {
    if (!has_place(*l)) continue;
    points.push_back(layer_point(*l, whole_us));
    peaks[l->arithmetic] = ceilings.gmac_s(l->arithmetic);
    add_pruned_peak(ceilings, *l, peaks);
    low = std::min(low, intensity(*l));
    high = std::max(high, intensity(*l));
  }
  if (points.empty()) return nullptr;
  constexpr double kRoom = 2;  // times as low and as high
  return {{"name", name},
          {"points", points},
          {"roofs", roofs(ceilings, peaks, low / kRoom, high * kRoom)}};
}

std::string roofline_chart(const Facts& facts, const Group& group) {
  Json views = Json::array();
  for (const ModelFacts& model : group.models) {
    for (const auto& [setting, layers] : by_setting(model)) {
      const CeilingsRecord* ceilings = ceilings_of(facts, *layers[0]);
      if (ceilings == nullptr) continue;
      Json view = roofline_view(model.name() + setting_text(setting), *ceilings, layers);
      if (!view.is_null()) views.push_back(std::move(view));
    }
  }
  if (views.empty()) return "";
  const Json spec = {{"type", "roofline"},
                     {"x", "multiply-adds for each byte moved"},
                     {"y", "GMAC/s"},
                     {"views", views}};
  return html_chart(
      "Layers under the machine's roof", group.title(),
      "Multiply-adds a second against multiply-adds for each byte that a layer moves, "
      "below what the machine reads and multiplies at best. The tables below have "
      "every figure.",
      spec);
}

std::string group_tables(const Group& group) {
  std::string out;
  for (const ModelFacts& model : group.models) {
    for (const auto& [setting, layers] : by_setting(model)) {
      const std::string name = model.name() + setting_text(setting);
      out += fmt::format("<details><summary>{}</summary>{}</details>\n", escape_html(name),
                         layer_table(group.title() + ": " + name, layers));
    }
  }
  return out;
}

}  // namespace

std::string make_layers_section(const Facts& facts) {
  std::string out;
  bool any_chart = false;
  for (const Group& group : facts.groups) {
    const std::string tables = group_tables(group);
    if (tables.empty()) continue;
    const std::string chart = roofline_chart(facts, group);
    any_chart = any_chart || !chart.empty();
    out += fmt::format("<h3>{}</h3>\n{}{}", escape_html(group.title()), chart, tables);
  }
  if (out.empty()) return "";
  std::string intro;
  if (any_chart) {
    intro = html_paragraph(
        "A layer can be no faster than its bytes are read and its products are made: the sloped "
        "lines are what this machine reads at best, from memory and from the nearest cache, the "
        "level ones what it multiplies, all measured. A mark is as large as the layer's share of "
        "the time. A layer on a line uses the machine up; one "
        "far "
        "below all of them is lost in overheads, or has a kernel that could be better.");
  }
  return intro + out +
         html_paragraph(
             "MACs: multiply-accumulates for one image. Moved: weights and activations of a batch. "
             "Of its limit: the time that those bytes and operations, a step's start and a barrier "
             "take at best, as a share of the time that was measured. Gain: times as fast as the "
             "same layer of the model it was made from; predicted by the limits alone. Alone: "
             "change "
             "of top-1 in points when only this layer is treated so.",
             "quiet");
}

}  // namespace pare
