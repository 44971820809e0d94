// pare tune-kernels: the fastest kernel of each layer on this machine, measured once and kept with
// the model.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/measured_model.h"
#include "cli/model_images.h"
#include "cli/table.h"
#include "cli/usage.h"
#include "graph/model_file.h"
#include "measure/tune.h"
#include "report/format.h"

namespace pare {
namespace {

struct TuneArguments {
  std::string model;
  std::string output;
  int64_t batch = 1;
  double seconds = 1.0;
  DatasetOptions data;
  SessionOptions session;
  bool json = false;
};

void print_json(const TuneArguments& o, const TuneResult& result) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const TunedLayer& layer : result.layers) {
    nlohmann::ordered_json kernels = nlohmann::ordered_json::array();
    for (const auto& [kernel, us] : layer.kernels) {
      kernels.push_back({{"kernel", kernel}, {"latency_us", us}});
    }
    layers.push_back({{"name", layer.name},
                      {"operation", layer.operation},
                      {"kernels", std::move(kernels)},
                      {"fastest", layer.fastest}});
  }
  print_indented(nlohmann::ordered_json{{"model", o.model},
                                        {"output", o.output},
                                        {"batch", o.batch},
                                        {"threads", o.session.threads},
                                        {"before_us", result.before_us},
                                        {"after_us", result.after_us},
                                        {"stored", result.tuning},
                                        {"checked", result.checked},
                                        {"layers", std::move(layers)}});
}

void print_table(const TuneArguments& o, const TuneResult& result) {
  Table table({{"layer", Align::kLeft},
               {"operation", Align::kLeft},
               {"kernel", Align::kLeft},
               {"time"},
               {"", Align::kLeft}});
  for (const TunedLayer& layer : result.layers) {
    for (size_t i = 0; i < layer.kernels.size(); ++i) {
      const auto& [kernel, us] = layer.kernels[i];
      std::string note = i == 0 ? "the planner's choice" : "";
      if (kernel == layer.fastest) note += i == 0 ? ", kept" : "taken instead";
      table.add({i == 0 ? layer.name : "", i == 0 ? layer.operation : "", kernel, duration_text(us),
                 note});
    }
  }
  fmt::print("{}\n", table.text());
  if (!result.checked.empty()) fmt::print("checked: {}\n", result.checked);
  if (result.tuning.empty()) {
    fmt::print("nothing to gain: the planner's choices stay, {} is the model as it was\n",
               o.output);
    return;
  }
  fmt::print("{} instead of {} a batch of {} on {} threads; {} layers' kernels stored in {}\n",
             duration_text(result.after_us), duration_text(result.before_us), o.batch,
             o.session.threads, result.tuning.size(), o.output);
}

Status run(TuneArguments o) {
  if (o.session.threads == 0) o.session.threads = available_cores();
  PARE_RETURN_IF_ERROR(check_model_output(o.output));
  PARE_RETURN_IF_ERROR(check_models({o.model}));
  PARE_RETURN_IF_ERROR(check_dataset_path(o.data.path));
  PARE_ASSIGN_OR_RETURN(MeasuredModel model, load_measured_model(o.model, o.session));
  ModelImages images(o.data);
  PARE_ASSIGN_OR_RETURN(const auto data, images.of(model.contract));
  const Result<TuneResult> result = tune_kernels(model.graph, o.session, *data, o.batch, o.seconds);
  if (!result.ok()) return result.status().with_context(o.model);
  store_tuning(result->tuning, model.graph);
  PARE_RETURN_IF_ERROR(save_model(model.graph, o.output));
  if (o.json) {
    print_json(o, *result);
  } else {
    print_table(o, *result);
  }
  return ok_status();
}

}  // namespace

Command make_tune_kernels_command() {
  return {.name = "tune-kernels",
          .summary = "Measure each layer's kernels here and keep the fastest with the model",
          .examples =
              "  pare tune-kernels alexnet-pruned.onnx -o tuned.pare\n"
              "  pare tune-kernels mine.onnx --batch 8 --threads 2 -o tuned.onnx --json",
          .setup = [](CLI::App& app) -> std::function<Status()> {
            auto o = std::make_shared<TuneArguments>();
            app.add_option("model", o->model, "Model, .onnx, .pare or of the zoo")->required();
            app.add_option("-o,--output", o->output, "Model to write, .onnx or .pare")->required();
            app.add_option("--batch", o->batch,
                           "Images in a batch that it is tuned for; other sizes take the same "
                           "kernels")
                ->check(whole_number(1, 1 << 16))
                ->capture_default_str();
            app.add_option("--seconds", o->seconds, "How long each choice is run, twice")
                ->check(number(0, 1e5))
                ->capture_default_str();
            app.add_option("--data", o->data.path, "Images; the built-in ones without it");
            add_threads_flag(app, o->session);
            app.add_flag("--json", o->json, "Print an object");
            return [o] { return run(*o); };
          }};
}

}  // namespace pare
