// pare diff: where two models, or two ways to run one, come apart.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/numerals.h"
#include "base/thread_pool.h"
#include "cli/bench_peers.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/measured_model.h"
#include "cli/model_images.h"
#include "cli/table.h"
#include "cli/usage.h"
#include "measure/drift.h"
#include "measure/peer_drift.h"

namespace pare {
namespace {

struct DiffArguments {
  std::string first;
  std::string second;  // empty: the first
  int64_t images = 64;
  std::optional<double> tolerance;  // by the precisions without it
  DatasetOptions data;
  SessionOptions session;       // the second's
  std::string first_precision;  // what they compute in
  std::string second_precision;
  std::string engine;          // that runs the second; empty: ours
  std::string engine_version;  // as it says
  bool json = false;
};

// Relative errors that layers of the two nets of the zoo stay below three times over
// (docs/measuring.md).
double usual_tolerance(const std::string& precision) {
  if (precision == "int8") return 0.3;
  if (precision == "bfloat16") return 0.03;
  if (precision == "float16") return 0.003;
  return 1e-5;
}

std::optional<size_t> first_beyond(const std::vector<DriftPoint>& points, double tolerance) {
  for (size_t i = 0; i < points.size(); ++i) {
    if (!(points[i].relative_error <= tolerance)) return i;
  }
  return std::nullopt;
}

// JSON has no infinity.
nlohmann::ordered_json finite(double number) {
  return std::isfinite(number) ? nlohmann::ordered_json(number) : nlohmann::ordered_json();
}

void print_json(const std::vector<DriftPoint>& points, const DiffArguments& o, double tolerance) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const DriftPoint& p : points) {
    layers.push_back({{"layer", p.layer},
                      {"operation", p.operation},
                      {"value", p.value},
                      {"relative_error", finite(p.relative_error)},
                      {"snr_db", finite(signal_to_noise_db(p))},
                      {"largest_difference", finite(p.largest_difference)},
                      {"largest_value", finite(p.largest_value)}});
  }
  const auto beyond = first_beyond(points, tolerance);
  print_indented(
      nlohmann::ordered_json{{"first", o.first},
                             {"second", o.second},
                             {"engine", o.engine.empty() ? "pare" : o.engine},
                             {"images", o.images},
                             {"tolerance", tolerance},
                             {"first_beyond", beyond ? nlohmann::ordered_json(points[*beyond].layer)
                                                     : nlohmann::ordered_json()},
                             {"layers", std::move(layers)}});
}

std::string number_text(double number) {
  return std::isfinite(number) ? fmt::format("{:.2g}", number) : "infinite";
}

void print_table(const std::vector<DriftPoint>& points, const DiffArguments& o, double tolerance) {
  Table table({{"#"},
               {"layer", Align::kLeft},
               {"operation", Align::kLeft},
               {"relative error"},
               {"SNR, dB"},
               {"largest difference"},
               {"of values up to"},
               {"", Align::kLeft}});
  for (size_t i = 0; i < points.size(); ++i) {
    const DriftPoint& p = points[i];
    const double snr = signal_to_noise_db(p);
    table.add({std::to_string(i + 1), p.layer, p.operation,
               p.relative_error == 0 ? "0" : number_text(p.relative_error),
               std::isfinite(snr) ? fmt::format("{:.1f}", snr) : "",
               p.largest_difference == 0 ? "0" : number_text(p.largest_difference),
               number_text(p.largest_value), p.relative_error <= tolerance ? "" : "beyond"});
  }
  fmt::print("{}\n", table.text());
  const auto beyond = first_beyond(points, tolerance);
  if (beyond) {
    const DriftPoint& p = points[*beyond];
    fmt::print("first beyond a relative error of {:g}: {}, {}\n", tolerance, p.layer,
               number_text(p.relative_error));
  } else {
    fmt::print("all within a relative error of {:g}\n", tolerance);
  }
  std::string how;
  if (o.session.reference_kernels) how = " by the reference kernels";
  if (!o.engine.empty()) how = fmt::format(" by {} {}", o.engine, o.engine_version);
  fmt::print("{} images; {} in {}, {} in {}{}\n", with_thousands(o.images), o.first,
             o.first_precision, o.second, o.second_precision, how);
}

Status check_options(const DiffArguments& o) {
  if (!o.engine.empty() && (o.session.reference_kernels || !o.session.cpu_level.empty())) {
    return invalid_argument(fmt::format(
        "--engine {}: --reference and --cpu-level choose among Pare's own kernels", o.engine));
  }
  if (!o.second.empty() || !o.engine.empty() || o.session.reference_kernels ||
      !o.session.cpu_level.empty() || o.session.precision != "float32") {
    return ok_status();
  }
  return invalid_argument(
      "one model run one way: expected a second model, --precision, --cpu-level, --reference or "
      "--engine");
}

Result<PeerDrift> drift_beside_engine(const DriftSide& ours, const MeasuredModel& theirs,
                                      const DiffArguments& o, const Dataset& data) {
  PARE_ASSIGN_OR_RETURN(const PeerPlace place, find_peers());
  const int threads = o.session.threads > 0 ? o.session.threads : available_cores();
  return measure_peer_drift(ours,
                            {.graph = &theirs.graph,
                             .engine = o.engine,
                             .precision = peer_precision(theirs),
                             .threads = threads},
                            place, data, o.images);
}

Status run(DiffArguments o) {
  PARE_RETURN_IF_ERROR(check_options(o));
  if (o.second.empty()) o.second = o.first;
  PARE_RETURN_IF_ERROR(check_models({o.first, o.second}));
  PARE_RETURN_IF_ERROR(check_dataset_path(o.data.path));
  const SessionOptions as_the_file_says{.threads = o.session.threads};
  if (o.session.device == "cuda") {
    return invalid_argument(
        "--device cuda: diff looks at every value, which it does on the processor");
  }
  o.session.device = "cpu";
  PARE_ASSIGN_OR_RETURN(const MeasuredModel a, load_measured_model(o.first, as_the_file_says));
  PARE_ASSIGN_OR_RETURN(const MeasuredModel b, load_measured_model(o.second, o.session));
  ModelImages images(o.data);
  PARE_ASSIGN_OR_RETURN(const auto data, images.of(a.contract));
  o.images = std::min(o.images, data->size());
  std::vector<DriftPoint> points;
  const DriftSide first = {&a.graph, as_the_file_says};
  if (o.engine.empty()) {
    PARE_ASSIGN_OR_RETURN(points, measure_drift(first, {&b.graph, o.session}, *data, o.images));
  } else {
    PARE_ASSIGN_OR_RETURN(PeerDrift drift, drift_beside_engine(first, b, o, *data));
    points = std::move(drift.points);
    o.images = drift.images;
    o.engine_version = drift.version;
  }
  o.first_precision = a.precision;
  o.second_precision = b.precision;
  const double tolerance =
      o.tolerance.value_or(std::max(usual_tolerance(a.precision), usual_tolerance(b.precision)));
  if (o.json) {
    print_json(points, o, tolerance);
  } else {
    print_table(points, o, tolerance);
  }
  return ok_status();
}

}  // namespace

Command make_diff_command() {
  return {.name = "diff",
          .summary = "Show layer by layer how far two models come apart on the same images",
          .examples =
              "  pare diff alexnet.onnx alexnet-int8.onnx --data cifar-10-batches-bin\n"
              "  pare diff vit.onnx --precision bfloat16\n"
              "  pare diff alexnet-int8.onnx --engine onnxruntime\n"
              "  pare diff mine.onnx --reference --tolerance 1e-6 --json",
          .setup = [](CLI::App& app) -> std::function<Status()> {
            auto o = std::make_shared<DiffArguments>();
            app.add_option("model", o->first, "Model, .onnx, .pare or of the zoo")->required();
            app.add_option("other", o->second, "The model beside it; the same without it");
            app.add_option("--data", o->data.path, "Images; the built-in ones without it");
            app.add_option("--images", o->images, "The first so many")
                ->check(whole_number(1, 1 << 20))
                ->capture_default_str();
            app.add_option("--tolerance", o->tolerance,
                           "Largest relative error of a layer; by the precision without it")
                ->check(number(0, 1e9));
            app.add_flag("--reference", o->session.reference_kernels,
                         "The second runs the slow, exact reference kernels");
            app.add_option("--engine", o->engine,
                           "The second runs in another engine, onnxruntime or openvino "
                           "(peers/setup installs them)")
                ->check(one_of(engines_that_show_values()));
            add_threads_flag(app, o->session);
            add_session_flags(app, o->session);
            app.add_flag("--json", o->json, "Print an object");
            return [o] { return run(*o); };
          }};
}

}  // namespace pare
