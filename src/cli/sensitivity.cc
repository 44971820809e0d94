// pare sensitivity: what each layer alone costs when it is quantised.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/measured_model.h"
#include "cli/model_argument.h"
#include "cli/table.h"
#include "cli/training_images.h"
#include "cli/usage.h"
#include "compress/compress.h"
#include "compress/layer_sensitivity.h"
#include "graph/model_file.h"

namespace pare {
namespace {

using Json = nlohmann::ordered_json;

struct SensitivityArguments {
  std::string model;
  std::string recipe = "int4";
  DatasetOptions data;
  int64_t images = 2000;
  int64_t calibration_images = 512;
  bool json = false;
};

Json loss_json(const QuantisationLoss& loss, int64_t images) {
  Json object;
  if (!loss.layer.empty()) object = {{"layer", loss.layer}, {"operation", loss.operation}};
  object["weights"] = loss.weights;
  object["drop_points"] = 100 * loss.drop;
  object["drop_points_low"] = 100 * loss.drop_interval.low;
  object["drop_points_high"] = 100 * loss.drop_interval.high;
  object["flips_percent"] = 100 * static_cast<double>(loss.flips) / static_cast<double>(images);
  object["divergence_nats"] = loss.divergence;
  if (loss.output_snr_db) object["output_snr_db"] = *loss.output_snr_db;
  return object;
}

void print_json(const SensitivityArguments& o, const RecipeStep& step,
                const LayerSensitivities& result) {
  Json layers = Json::array();
  for (const QuantisationLoss& loss : result.layers) {
    layers.push_back(loss_json(loss, result.images));
  }
  print_indented(Json{{"model", o.model},
                      {"step", step_string(step)},
                      {"data", result.data},
                      {"images", result.images},
                      {"seed", o.data.seed},
                      {"top1_percent", 100 * result.top1},
                      {"all", loss_json(result.all, result.images)},
                      {"layers", std::move(layers)}});
}

std::vector<std::string> row_of(const QuantisationLoss& loss, int64_t images) {
  return {
      loss.layer.empty() ? "all layers" : loss.layer,
      loss.operation,
      fmt::format("{}", loss.weights),
      fmt::format("{:.2f}", 100 * loss.drop),
      fmt::format("{:.2f} … {:.2f}", 100 * loss.drop_interval.low, 100 * loss.drop_interval.high),
      fmt::format("{:.2f}", 100 * static_cast<double>(loss.flips) / static_cast<double>(images)),
      fmt::format("{:.5f}", loss.divergence),
      loss.output_snr_db ? fmt::format("{:.1f}", *loss.output_snr_db) : ""};
}

void print_table(const RecipeStep& step, const LayerSensitivities& result) {
  fmt::print("{} on {} ({:.2f} % right in float32)\n", step_string(step), result.data,
             100 * result.top1);
  Table table({{"quantised", Align::kLeft},
               {"operation", Align::kLeft},
               {"weights"},
               {"drop, points"},
               {"95 %"},
               {"flips, %"},
               {"divergence, nats"},
               {"output, dB"}});
  for (const QuantisationLoss& loss : result.layers) table.add(row_of(loss, result.images));
  table.add(row_of(result.all, result.images));
  fmt::print("{}", table.text());
}

Status run(const SensitivityArguments& o) {
  PARE_ASSIGN_OR_RETURN(const Recipe recipe, parse_recipe(o.recipe));
  if (recipe.steps.size() != 1) {
    return invalid_argument(fmt::format("sensitivity is measured of one step, found {} in '{}'",
                                        recipe.steps.size(), recipe_string(recipe)));
  }
  PARE_RETURN_IF_ERROR(check_dataset_path(o.data.path));
  PARE_ASSIGN_OR_RETURN(const Graph graph, load_model(o.model));
  warn_of_assumed_preparation(o.model, graph.contract);
  CompressContext context;
  auto images = open_training_images(graph, o.data);
  if (!images.ok()) return images.status().with_context(o.model);
  context.train = *std::move(images);
  context.calibration_images = o.calibration_images;
  context.sensitivity_images = o.images;
  context.threads = o.data.threads;
  context.seed = o.data.seed;
  context.progress = [](const std::string& line) { fmt::print(stderr, "{}\n", line); };
  const auto result = measure_layer_sensitivities(graph, recipe.steps[0], context);
  if (!result.ok()) return result.status().with_context(o.model);
  if (o.json) {
    print_json(o, recipe.steps[0], *result);
  } else {
    print_table(recipe.steps[0], *result);
  }
  return ok_status();
}

}  // namespace

Command make_sensitivity_command() {
  return {
      .name = "sensitivity",
      .summary = "What each layer alone costs when it is quantised",
      .examples =
          "  pare sensitivity alexnet.onnx\n"
          "  pare sensitivity vit.onnx int8,range=minmax --data cifar10 --json",
      .setup = [](CLI::App& app) -> std::function<Status()> {
        auto o = std::make_shared<SensitivityArguments>();
        app.add_option("model", o->model, "Model in float32, .onnx or .pare, or one of the zoo")
            ->transform(model_argument())
            ->required();
        app.add_option("recipe", o->recipe,
                       "One step that makes integers: METHOD[,OPTION=VALUE...]")
            ->capture_default_str();
        app.add_option("--data", o->data.path,
                       "CIFAR or image folder, cifar10 or cifar100; the built-in training images "
                       "without it. Only training images are looked at");
        app.add_option("--images", o->images,
                       "Training images to test on, others than the calibration's")
            ->check(whole_number(1, int64_t{1} << 24))
            ->capture_default_str();
        app.add_option("--calibration-images", o->calibration_images,
                       "Training images that activation ranges are measured on")
            ->check(whole_number(1, int64_t{1} << 24))
            ->capture_default_str();
        app.add_option("--threads", o->data.threads, "0: all cores")->check(whole_number(0, 1024));
        app.add_option("--seed", o->data.seed, "Of the images drawn")
            ->check(whole_number(0, int64_t{1} << 52))
            ->capture_default_str();
        app.add_flag("--json", o->json, "Print an object");
        return [o] { return run(*o); };
      }};
}

}  // namespace pare
