// pare compress: a model made smaller by a recipe.

#include "compress/compress.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/command.h"
#include "cli/compress_prediction.h"
#include "cli/json_output.h"
#include "cli/measured_model.h"
#include "cli/model_argument.h"
#include "cli/stop_signal.h"
#include "cli/trainer.h"
#include "cli/training_images.h"
#include "cli/usage.h"
#include "graph/model_file.h"

namespace pare {
namespace {

using Json = nlohmann::ordered_json;

struct CompressArguments {
  std::string input;
  std::string recipe;
  std::string output;
  std::string data;
  int64_t calibration_images = 512;
  double train_fraction = 1.0;
  uint64_t seed = 0;
  int threads = 0;
  std::string device = "cpu";
  bool strict = false;
  bool json = false;
  bool report = false;
  bool no_prediction = false;
};

void note(const std::string& line) { fmt::print(stderr, "{}\n", line); }

Json step_json(const RecipeStepReport& step) {
  return {{"step", step.step},
          {"summary", step.summary},
          {"warnings", step.warnings},
          {"seconds", step.seconds},
          {"layers", step.layers}};
}

std::string fact_text(const Json& value) {
  if (value.is_number_float()) return fmt::format("{:.5g}", value.get<double>());
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// A step's layers as a table: the first one's facts are the columns.
void print_layers(const RecipeStepReport& step) {
  if (step.layers.empty()) return;
  std::vector<std::vector<std::string>> rows(1);
  for (const auto& [key, value] : step.layers[0].items()) rows[0].push_back(key);
  for (const Json& layer : step.layers) {
    auto& row = rows.emplace_back();
    for (const std::string& key : rows[0]) {
      row.push_back(layer.contains(key) ? fact_text(layer[key]) : "");
    }
  }
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) line += fmt::format("  {:<{}}", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    fmt::print("{}\n", line);
  }
}

// Tries the recipe and says what it will give; nullopt where that cannot be told. A recipe that
// fails as a trial would fail after all the work.
Result<std::optional<Prediction>> say_prediction(const Graph& graph, const Recipe& recipe,
                                                 const CompressContext& context) {
  const std::optional<Trial> trial = trial_of(recipe);
  if (!trial) return std::optional<Prediction>();  // training alone changes no speed
  PARE_ASSIGN_OR_RETURN(const Graph tried, run_trial(graph, *trial, context));
  Result<Prediction> prediction = predict_gain(graph, tried, *trial, context);
  if (!prediction.ok()) {
    note("no prediction of the speed: " + prediction.status().message());
    return std::optional<Prediction>();
  }
  note(prediction->text());
  for (const std::string& warning : prediction->warnings()) note("warning: " + warning);
  return std::optional<Prediction>(*std::move(prediction));
}

// `before`: the input's size, which the output may have replaced.
Status print_result(const CompressArguments& o, const Recipe& recipe, const Compressed& result,
                    const std::optional<Prediction>& prediction, int64_t before) {
  PARE_ASSIGN_OR_RETURN(const int64_t after, file_size(o.output));
  if (o.json) {
    Json object = {
        {"model", o.input},      {"output", o.output},    {"recipe", recipe_string(recipe)},
        {"input_bytes", before}, {"output_bytes", after}, {"steps", Json::array()}};
    if (prediction) object["predicted"] = prediction->json();
    for (const RecipeStepReport& step : result.steps) object["steps"].push_back(step_json(step));
    print_indented(object);
    return ok_status();
  }
  for (const RecipeStepReport& step : result.steps) {
    fmt::print("{}: {} ({:.1f} s)\n", step.step, step.summary, step.seconds);
    if (o.report) print_layers(step);
  }
  fmt::print("{}: {:.2f} MB -> {}: {:.2f} MB\n", o.input, static_cast<double>(before) / 1e6,
             o.output, static_cast<double>(after) / 1e6);
  return ok_status();
}

Status run(const CompressArguments& o) {
  PARE_ASSIGN_OR_RETURN(const Recipe recipe, load_recipe(o.recipe));
  if (needs_trainer(recipe)) {
    const Status here = hand_over_training();
    if (!here.ok())
      return here.with_context("recipe '" + recipe_string(recipe) + "' needs the trainer");
  }
  PARE_RETURN_IF_ERROR(check_model_output(o.output));
  if (needs_images(recipe)) PARE_RETURN_IF_ERROR(check_dataset_path(o.data));
  PARE_ASSIGN_OR_RETURN(const Graph graph, load_model(o.input));
  const Status compressible = check_compressible(graph, recipe);
  if (!compressible.ok()) return compressible.with_context(o.input);
  CompressContext context;
  if (needs_images(recipe)) {
    warn_of_assumed_preparation(o.input, graph.contract);
    const DatasetOptions data{.path = o.data,
                              .train_fraction = o.train_fraction,
                              .seed = o.seed,
                              .strict = o.strict,
                              .threads = o.threads};
    auto images = open_training_images(graph, data);
    if (!images.ok()) return images.status().with_context(o.input);
    context.train = *std::move(images);
  }
  std::unique_ptr<Trainer> trainer;
  if (needs_trainer(recipe)) {
    context.stop = take_stop_signals();
    trainer = make_trainer(o.device, context.stop);
  }
  context.trainer = trainer.get();
  context.calibration_images = o.calibration_images;
  context.threads = o.threads;
  context.seed = o.seed;
  context.progress = note;
  std::optional<Prediction> prediction;
  if (!o.no_prediction) {
    auto said = say_prediction(graph, recipe, context);
    if (!said.ok()) return said.status().with_context(o.input);
    prediction = *std::move(said);
  }
  Result<Compressed> result = compress(graph, recipe, context);
  if (!result.ok()) return result.status().with_context(o.input);
  for (const RecipeStepReport& step : result->steps) {
    for (const std::string& warning : step.warnings) {
      note(fmt::format("warning: {}: {}", step.step, warning));
    }
  }
  PARE_ASSIGN_OR_RETURN(const int64_t before, file_size(o.input));
  PARE_RETURN_IF_ERROR(save_model(result->graph, o.output));
  return print_result(o, recipe, *result, prediction, before);
}

constexpr char kExamples[] =
    "  pare compress alexnet.onnx int8 --data cifar10 -o alexnet-int8.onnx\n"
    "  pare compress vit.onnx fp16 -o vit-fp16.pare\n"
    "  pare compress alexnet.onnx prune:0.9,share=uniform+int8 -o small.pare --report\n"
    "  pare compress alexnet.onnx prune:0.95+finetune:20+int8 --data cifar10 -o small.pare\n"
    "  pare compress alexnet.onnx mine.toml -o mine.pare --json\n";

std::function<Status()> set_up_compress(CLI::App& app) {
  auto o = std::make_shared<CompressArguments>();
  app.add_option("input", o->input, "Model in float32, .onnx or .pare, or one of the zoo")
      ->transform(model_argument())
      ->required();
  app.add_option("recipe", o->recipe, "METHOD[:VALUE][,OPTION=VALUE...][+METHOD...], or a .toml")
      ->required();
  app.add_option("-o,--output", o->output, "Model to write, .onnx or .pare")->required();
  app.add_option("--data", o->data,
                 "CIFAR or image folder, cifar10 or cifar100; the built-in training images without "
                 "it. Only training images are looked at");
  app.add_option("--calibration-images", o->calibration_images,
                 "Training images that ranges and inputs of layers are measured on")
      ->check(whole_number(1, int64_t{1} << 24))
      ->capture_default_str();
  app.add_option("--train-fraction", o->train_fraction, "Share of the training images to use")
      ->check(number(1e-6, 1))
      ->capture_default_str();
  app.add_option("--threads", o->threads, "0: all cores")->check(whole_number(0, 1024));
  constexpr int64_t kMaxSeed = 9'000'000'000'000'000;  // as a training recipe's
  app.add_option("--seed", o->seed, "Of the images drawn and of fine-tuning")
      ->check(whole_number(0, kMaxSeed))
      ->capture_default_str();
  app.add_flag("--strict", o->strict, "A broken image stops the run");
  app.add_flag("--report", o->report, "Print what each step did to each layer");
  app.add_flag("--json", o->json, "Print an object with each step's report");
  app.add_flag("--no-prediction", o->no_prediction,
               "Do not try and time beforehand how much faster the result will be");
  if (can_train()) {
    app.add_option("--device", o->device, "Where fine-tuning runs: cpu, cuda or auto")
        ->check(one_of({"cpu", "cuda", "auto"}))
        ->capture_default_str();
  }
  app.footer(fmt::format("Methods and their options (default):\n{}\nExamples:\n{}", recipe_help(),
                         kExamples));
  return [o] { return run(*o); };
}

}  // namespace

Command make_compress_command() {
  return {.name = "compress",
          .summary = "Make a model smaller: float16, int8, pruning, fine-tuning",
          .examples = kExamples,
          .setup = set_up_compress};
}

}  // namespace pare
