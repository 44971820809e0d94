// pare import: trained weights into a model of ours, or somebody's ONNX file into a model that
// knows its images.
#include "models/import.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/file.h"
#include "cli/command.h"
#include "cli/usage.h"
#include "graph/model_file.h"
#include "graph/safetensors.h"
#include "models/contract.h"

namespace pare {
namespace {

struct ImportArguments {
  std::string input;
  std::string output;
  std::string model;
  int64_t image_size = 0;
  bool allow_unused = false;
  ContractOptions contract;
  std::string layout = "nchw";
  float scale = 0;
  std::vector<int64_t> crop;
  std::string classes_file;
  std::string trained_on;
};

Result<std::vector<std::string>> read_classes(const std::string& path) {
  PARE_ASSIGN_OR_RETURN(const std::string text, read_text_file(path));
  std::vector<std::string> names;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() && end < text.size()) {
      return corrupt(fmt::format("{}: line {} is empty: expected a class name on every line", path,
                                 names.size() + 1));
    }
    if (!line.empty()) names.push_back(std::move(line));
    at = end + 1;
  }
  if (names.empty()) return corrupt(path + ": expected a class name on every line, found none");
  return names;
}

Result<ImportedModel> import_named(const ImportArguments& o) {
  PARE_ASSIGN_OR_RETURN(const Safetensors weights, read_safetensors(o.input));
  ImportOptions options;
  options.build.image_size = o.image_size;
  options.build.mean = o.contract.mean;
  options.build.std = o.contract.std;
  options.allow_unused = o.allow_unused;
  Result<ImportedModel> imported = import_weights(o.model, weights.tensors, options);
  if (!imported.ok()) return imported.status().with_context(o.input);
  // The scaling is inside the graph already; what is left are the classes and the resizing.
  const ContractOptions contract = {.resize = o.contract.resize, .classes = o.contract.classes};
  PARE_ASSIGN_OR_RETURN(ImportedModel model, attach_contract(std::move(imported->graph), contract));
  model.notes.insert(model.notes.begin(), imported->notes.begin(), imported->notes.end());
  return model;
}

Result<ImportedModel> import_file(const ImportArguments& o) {
  PARE_ASSIGN_OR_RETURN(Graph graph, load_model(o.input));
  Result<ImportedModel> model = attach_contract(std::move(graph), o.contract);
  if (!model.ok()) return model.status().with_context(o.input);
  return model;
}

Status run(ImportArguments o, const CLI::App& app) {
  const bool weights = std::filesystem::path(o.input).extension() == ".safetensors";
  if (weights && o.model.empty()) {
    return invalid_argument(o.input + ": say which model these weights are for with --model");
  }
  if (!weights && !o.model.empty()) {
    return invalid_argument(o.input + ": --model goes with a .safetensors file");
  }
  if (!weights && (o.image_size != 0 || o.allow_unused)) {
    return invalid_argument("--image-size and --allow-unused go with --model");
  }
  const bool contract_only = app.count("--layout") + app.count("--bgr") +
                                 app.count("--float-input") + app.count("--scale") +
                                 app.count("--crop") + app.count("--output-name") >
                             0;
  if (weights && contract_only) {
    return invalid_argument(
        "--layout, --bgr, --float-input, --scale, --crop and --output-name go with an ONNX file: a "
        "model built by name has its preprocessing inside");
  }
  if ((app.count("--mean") > 0) != (app.count("--std") > 0)) {
    return invalid_argument("--mean and --std go together: (pixel * scale - mean) / std");
  }
  std::error_code ignored;
  if (std::filesystem::equivalent(o.input, o.output, ignored)) {
    return invalid_argument(o.output + ": expected another file than the one that is imported");
  }
  PARE_RETURN_IF_ERROR(check_can_write(o.output));
  if (app.count("--scale") > 0) o.contract.scale = o.scale;
  o.contract.channels_last = o.layout == "nhwc";
  if (!o.crop.empty()) {
    o.contract.height = o.crop.front();
    o.contract.width = o.crop.back();
  }
  if (!o.classes_file.empty()) {
    PARE_ASSIGN_OR_RETURN(o.contract.classes, read_classes(o.classes_file));
  }
  PARE_ASSIGN_OR_RETURN(ImportedModel model, weights ? import_named(o) : import_file(o));
  if (!o.trained_on.empty()) model.graph.metadata["trained_on"] = o.trained_on;
  PARE_RETURN_IF_ERROR(save_model(model.graph, o.output));
  for (const std::string& note : model.notes) fmt::print("{}: {}\n", o.input, note);
  fmt::print("{}: {} nodes, {} parameters\n", o.output, model.graph.nodes.size(),
             model.graph.parameter_count());
  return ok_status();
}

void add_contract_options(CLI::App& app, ImportArguments& o) {
  app.add_option("--layout", o.layout, "What the ONNX file's input is: nchw or nhwc")
      ->check(one_of({"nchw", "nhwc"}))
      ->capture_default_str();
  app.add_flag("--bgr", o.contract.bgr, "Its channels are blue, green, red");
  app.add_option("--scale", o.scale, "Factor for pixels of 0 to 255 (1/255 unless given)")
      ->check(number());
  app.add_option("--mean", o.contract.mean, "Mean taken from scaled pixels, one or one a channel")
      ->delimiter(',')
      ->check(number());
  app.add_option("--std", o.contract.std, "What they are then divided by")
      ->delimiter(',')
      ->check(number());
  app.add_option("--resize", o.contract.resize, "Shorter side of an image before the centre crop")
      ->check(whole_number(1, 1 << 16));
  app.add_option("--crop", o.crop,
                 "Height and width of the centre crop, where the file leaves them open")
      ->delimiter(',')
      ->expected(1, 2)
      ->check(whole_number(1, 1 << 16));
  app.add_option("--classes", o.classes_file, "Text file with a class name on every line");
  app.add_option("--trained-on", o.trained_on,
                 "What the weights were trained on, in words: stands beside every figure of the "
                 "model in reports");
  app.add_option("--output-name", o.contract.output, "Which output holds the classes");
  app.add_flag("--float-input", o.contract.keep_input,
               "Leave the graph's floating input and state the preprocessing beside it, instead of "
               "putting it into the graph");
}

}  // namespace

Command make_import_command() {
  return {
      .name = "import",
      .summary = "Make a model of trained weights, or of somebody's ONNX file",
      .examples =
          "  pare import alexnet.safetensors --model alexnet -o alexnet.onnx\n"
          "  pare import vit.safetensors --model vit-b/16 --image-size 384 --mean 0.5 --std 0.5 "
          "-o vit.pare\n"
          "  pare import resnet18.onnx --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 "
          "--resize 256 --classes names.txt -o resnet18.pare",
      .setup = [](CLI::App& app) -> std::function<Status()> {
        auto o = std::make_shared<ImportArguments>();
        app.add_option("input", o->input, "Weights (.safetensors) or a model (.onnx, .pare)")
            ->required();
        app.add_option("-o,--output", o->output, "Model to write, .onnx or .pare")->required();
        app.add_option("--model", o->model, "Model that the weights are for (see `pare models`)");
        app.add_option("--image-size", o->image_size,
                       "Height and width of its images; a position embedding is resampled")
            ->check(whole_number(1, 1 << 16));
        app.add_flag("--allow-unused", o->allow_unused,
                     "Leave out tensors that the model has no place for");
        add_contract_options(app, *o);
        return [o, &app] { return run(*o, app); };
      }};
}

}  // namespace pare
