// Layer by layer: what runs each layer and why, and what it holds.
#include <fmt/format.h>

#include "report/facts.h"
#include "report/format.h"
#include "report/html.h"

namespace pare {
namespace {

std::vector<Cell> layer_row(const LayerRecord& layer) {
  const auto count = [](const std::optional<int64_t>& n) {
    return Cell{.text = n ? count_text(*n) : "–", .number = true};
  };
  return {
      {.text = layer.name, .note = layer.operation, .header = true},
      {.text = layer.kernel.empty() ? "–" : layer.kernel,
       .note = layer.reason,
       .css_class = "wide"},
      count(layer.macs),
      {.text = layer.weight_bytes ? bytes_text(*layer.weight_bytes) : "–", .number = true},
      {.text = layer.weight_density ? fmt::format("{:.1f} %", 100 * *layer.weight_density) : "–",
       .number = true},
      {.text = layer.latency_us ? duration_text(*layer.latency_us) : "–", .number = true},
      {.text = layer.sensitivity ? points_text(-*layer.sensitivity) : "–", .number = true}};
}

}  // namespace

std::string make_layers_section(const Facts& facts) {
  std::string out;
  for (const Group& group : facts.groups) {
    std::string models;
    for (const ModelFacts& model : group.models) {
      if (model.layers.empty()) continue;
      std::vector<std::vector<Cell>> rows;
      for (const LayerRecord& layer : model.layers) rows.push_back(layer_row(layer));
      models += fmt::format(
          "<details><summary>{}</summary>{}</details>\n", escape_html(model.name()),
          html_table(group.title() + ": " + model.name(),
                     {"Layer", "Kernel and why", "MACs", "Weights", "Not zero", "Time", "Alone"},
                     rows));
    }
    if (!models.empty()) out += fmt::format("<h3>{}</h3>\n{}", escape_html(group.title()), models);
  }
  if (out.empty()) return "";
  return html_paragraph(
             "MACs: multiply-accumulates for one image. Alone: change of top-1 in points when only "
             "this layer "
             "is treated so.") +
         out;
}

}  // namespace pare
