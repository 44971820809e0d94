// pare summary MODEL: a model's layers, their output shapes, parameters and MACs.
#include "models/summary.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/numerals.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/table.h"
#include "cli/usage.h"
#include "graph/model_file.h"
#include "models/models.h"

namespace pare {
namespace {

struct SummaryArguments {
  std::string model;
  ModelOptions build = {.zero_weights = true};
  bool json = false;
};

void print_table(const Summary& summary) {
  Table table({{"name", Align::kLeft},
               {"layer", Align::kLeft},
               {"output", Align::kLeft},
               {"parameters"},
               {"MACs"}});
  table.add({"input", "", summary.input});
  for (const SummaryRow& row : summary.rows) {
    table.add({row.name, row.layer, row.output, with_thousands(row.parameters),
               row.macs == 0 ? "" : with_thousands(row.macs)});
  }
  table.add({"total", "", "", with_thousands(summary.parameters), with_thousands(summary.macs)});
  fmt::print("{}", table.text());
}

void print_json(const Graph& graph, const Summary& summary) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const SummaryRow& row : summary.rows) {
    rows.push_back({{"name", row.name},
                    {"layer", row.layer},
                    {"output", row.output},
                    {"parameters", row.parameters},
                    {"macs", row.macs}});
  }
  const nlohmann::ordered_json object = {
      {"model", graph.name},       {"input", summary.input},
      {"layers", std::move(rows)}, {"parameters", summary.parameters},
      {"macs", summary.macs},      {"weight_bytes", summary.weight_bytes}};
  print_indented(object);
}

Result<Graph> load(const SummaryArguments& options) {
  const auto ending = std::filesystem::path(options.model).extension();
  if (ending != ".onnx" && ending != ".pare") {
    Result<Graph> named = build_model(options.model, options.build);
    std::error_code ignored;
    if (named.ok() || !std::filesystem::exists(options.model, ignored)) return named;
    return load_model(options.model);  // no model's name, but there: it says what was found
  }
  if (options.build.classes != 10 || options.build.image_size != 0 || options.build.training_form) {
    return invalid_argument("--classes, --image-size and --training-form go with a model's name");
  }
  return load_model(options.model);
}

Status run(const SummaryArguments& options) {
  PARE_ASSIGN_OR_RETURN(const Graph graph, load(options));
  PARE_ASSIGN_OR_RETURN(const Summary summary, summarise(graph));
  if (options.json) {
    print_json(graph, summary);
  } else {
    print_table(summary);
  }
  return ok_status();
}

}  // namespace

Command make_summary_command() {
  return {
      .name = "summary",
      .summary = "Show a model's layers, output shapes, parameters and MACs",
      .examples =
          "  pare summary alexnet\n"
          "  pare summary vit-b/16 --image-size 384 --classes 1000\n"
          "  pare summary zoo/alexnet.pare --json",
      .setup = [](CLI::App& app) -> std::function<Status()> {
        auto o = std::make_shared<SummaryArguments>();
        app.add_option("model", o->model, "A model's name (see `pare models`) or file")->required();
        app.add_option("--classes", o->build.classes, "Number of classes of a named model")
            ->check(whole_number(1, 1 << 24));
        app.add_option("--image-size", o->build.image_size,
                       "Height and width of a named model's images")
            ->check(whole_number(1, 1 << 16));
        app.add_flag("--training-form", o->build.training_form,
                     "A named model as it is trained, with batch norm");
        app.add_flag("--json", o->json, "Print an object");
        return [o] { return run(*o); };
      }};
}

}  // namespace pare
