// pare explain: how a model is run on this processor, step by step, and why so.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "base/numerals.h"
#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/measured_model.h"
#include "cli/model_images.h"
#include "cli/table.h"
#include "cli/usage.h"
#include "measure/latency.h"
#include "report/format.h"

namespace pare {
namespace {

struct ExplainArguments {
  std::string model;
  int64_t batch = 1;
  bool time = false;
  double seconds = 1.0;
  DatasetOptions data;
  SessionOptions session;
  bool json = false;
};

struct Explanation {
  std::vector<LayerPlan> layers;
  std::vector<double> times_us;  // one a layer; empty if not asked for
  MemoryUse memory;
};

Result<Explanation> explain(MeasuredModel& model, const ExplainArguments& o) {
  Explanation e;
  PARE_ASSIGN_OR_RETURN(e.layers, model.session.plan(o.batch));
  PARE_ASSIGN_OR_RETURN(e.memory, model.session.memory(o.batch));
  if (!o.time) return e;
  ModelImages images(o.data);
  PARE_ASSIGN_OR_RETURN(const auto data, images.of(model.contract));
  PARE_ASSIGN_OR_RETURN(e.times_us, measure_steps(model.session, *data, o.batch, o.seconds));
  return e;
}

void print_json(const MeasuredModel& model, const ExplainArguments& o, const Explanation& e) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (size_t i = 0; i < e.layers.size(); ++i) {
    const LayerPlan& l = e.layers[i];
    layers.push_back({{"name", l.name},
                      {"operation", l.operation},
                      {"kernel", l.kernel},
                      {"reason", l.reason},
                      {"macs", l.macs},
                      {"weight_bytes", l.weight_bytes},
                      {"weight_density", l.weight_density}});
    if (!e.times_us.empty()) layers.back()["latency_us"] = e.times_us[i];
  }
  const nlohmann::ordered_json object = {{"model", model.name},
                                         {"precision", model.precision},
                                         {"batch", o.batch},
                                         {"threads", model.options.threads},
                                         {"weights_bytes", e.memory.weights_bytes},
                                         {"arena_bytes", e.memory.arena_bytes},
                                         {"scratch_bytes", e.memory.scratch_bytes},
                                         {"layers", std::move(layers)}};
  print_indented(object);
}

void print_table(const MeasuredModel& model, const ExplainArguments& o, const Explanation& e) {
  std::vector<Column> titles = {
      {"#"},       {"operation", Align::kLeft}, {"kernel", Align::kLeft}, {"MACs"}, {"weights"},
      {"not zero"}};
  const double total = std::accumulate(e.times_us.begin(), e.times_us.end(), 0.0);
  if (!e.times_us.empty()) titles.insert(titles.end(), {{"time"}, {"share"}, {"GMAC/s"}});
  Table table(std::move(titles));
  for (size_t i = 0; i < e.layers.size(); ++i) {
    const LayerPlan& l = e.layers[i];
    std::vector<std::string> cells = {std::to_string(i + 1),
                                      l.operation,
                                      l.kernel,
                                      l.macs == 0 ? "" : with_thousands(l.macs),
                                      "",
                                      ""};
    if (l.weight_bytes > 0) {
      cells[4] = bytes_text(l.weight_bytes);
      cells[5] = fmt::format("{:.0f} %", 100 * l.weight_density);
    }
    if (!e.times_us.empty()) {
      const double work = static_cast<double>(l.macs) * static_cast<double>(o.batch);
      cells.push_back(duration_text(e.times_us[i]));
      cells.push_back(fmt::format("{:.1f} %", 100 * e.times_us[i] / total));
      cells.push_back(l.macs == 0 ? "" : fmt::format("{:.1f}", work / e.times_us[i] / 1e3));
    }
    table.add(std::move(cells));
  }
  fmt::print("{}\nwhy\n", table.text());
  for (size_t i = 0; i < e.layers.size(); ++i) {
    fmt::print("{:3}  {}: {}\n", i + 1, e.layers[i].name, e.layers[i].reason);
  }
  fmt::print("\n{}, batch {}, {} threads: weights {}, arena {}, scratch {}\n", model.precision,
             o.batch, model.options.threads, bytes_text(e.memory.weights_bytes),
             bytes_text(e.memory.arena_bytes), bytes_text(e.memory.scratch_bytes));
  if (!e.times_us.empty()) fmt::print("time: {} a batch, mean of many\n", duration_text(total));
}

Status run(ExplainArguments o) {
  if (o.session.threads == 0) o.session.threads = available_cores();
  if (o.time) PARE_RETURN_IF_ERROR(check_dataset_path(o.data.path));
  PARE_ASSIGN_OR_RETURN(MeasuredModel model, load_measured_model(o.model, o.session));
  const Result<Explanation> e = explain(model, o);
  if (!e.ok()) return e.status().with_context(o.model);
  if (o.json) {
    print_json(model, o, *e);
  } else {
    print_table(model, o, *e);
  }
  return ok_status();
}

}  // namespace

Command make_explain_command() {
  return {.name = "explain",
          .summary = "Show how a model is run here, step by step, and why so",
          .examples =
              "  pare explain alexnet.pare\n"
              "  pare explain vit.onnx --batch 64 --threads 2 --time\n"
              "  pare explain mine.onnx --cpu-level avx2 --json",
          .setup = [](CLI::App& app) -> std::function<Status()> {
            auto o = std::make_shared<ExplainArguments>();
            app.add_option("model", o->model, "Model, .onnx, .pare or of the zoo")->required();
            app.add_option("--batch", o->batch, "Images in a batch")
                ->check(whole_number(1, 1 << 16))
                ->capture_default_str();
            app.add_flag("--time", o->time, "Run it and show what each step takes");
            app.add_option("--seconds", o->seconds, "How long it is run for --time")
                ->check(number(0, 1e5))
                ->capture_default_str();
            app.add_option("--data", o->data.path,
                           "Images for --time; the built-in ones without it");
            add_threads_flag(app, o->session);
            add_session_flags(app, o->session);
            app.add_flag("--json", o->json, "Print an object");
            return [o] { return run(*o); };
          }};
}

}  // namespace pare
