// pare models: the models that can be built by name.
#include "models/models.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/json_output.h"

namespace pare {
namespace {

Status print_models(bool json) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ModelEntry& entry : model_entries()) {
    if (json) {
      list.push_back({{"name", entry.name}, {"description", entry.description}});
    } else {
      fmt::print("{:<18}{}\n", entry.name, entry.description);
    }
  }
  if (json) print_indented(list);
  return ok_status();
}

}  // namespace

Command make_models_command() {
  return {.name = "models",
          .summary = "List the models that can be built by name",
          .examples = "  pare models\n  pare models --json",
          .setup = [](CLI::App& app) -> std::function<Status()> {
            auto json = std::make_shared<bool>(false);
            app.add_flag("--json", *json, "Print an array of objects");
            return [json] { return print_models(*json); };
          }};
}

}  // namespace pare
