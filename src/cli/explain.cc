// pare explain: how a model is run on this processor, step by step, and why so.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/file.h"
#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/explain_tables.h"
#include "cli/json_output.h"
#include "cli/measured_model.h"
#include "cli/model_images.h"
#include "cli/usage.h"
#include "measure/ceilings.h"
#include "measure/latency.h"

namespace pare {
namespace {

struct ExplainArguments {
  std::string model;
  std::string against;  // the model it was made from; empty: none
  int64_t batch = 1;
  bool time = false;
  bool retake_ceilings = false;
  double seconds = 1.0;
  DatasetOptions data;
  SessionOptions session;
  bool json = false;
  std::string records;
};

// A model and its images in the size it takes.
struct Subject {
  MeasuredModel model;
  std::shared_ptr<const Dataset> images;
};

Status explain_times(std::vector<Subject>& subjects, const ExplainArguments& o, Explanation& to) {
  ModelImages images(o.data);
  std::vector<StepSubject> steps;
  for (Subject& subject : subjects) {
    PARE_ASSIGN_OR_RETURN(subject.images, images.of(subject.model.contract));
    steps.push_back({&subject.model.session, subject.images.get()});
  }
  const SessionOptions& options = subjects[0].model.options;
  if (options.device == "cpu") {
    PARE_ASSIGN_OR_RETURN(to.ceilings, load_ceilings({.threads = options.threads,
                                                      .cpu_level = options.cpu_level,
                                                      .retake = o.retake_ceilings}));
  }
  PARE_ASSIGN_OR_RETURN(auto times, measure_steps(steps, o.batch, o.seconds));
  const auto timed = [&](size_t i) {
    MeasuredModel& model = subjects[i].model;
    return timed_plan(model.session, model.graph, model.options, *subjects[i].images, o.batch,
                      std::move(times[i]), to.ceilings ? &*to.ceilings : nullptr);
  };
  PARE_ASSIGN_OR_RETURN(to.timed, timed(0));
  if (subjects.size() == 1 || !to.ceilings) return ok_status();
  PARE_ASSIGN_OR_RETURN(const TimedPlan original, timed(1));
  PARE_ASSIGN_OR_RETURN(const auto unfused, why_unfused(subjects[0].model.graph, to.timed->layers));
  to.gain = compare_plans(original, *to.timed, *to.ceilings, unfused);
  return ok_status();
}

Status append_records(const std::string& path, const MeasuredModel& model, const Explanation& e) {
  const nlohmann::json context = current_context();
  PARE_RETURN_IF_ERROR(append(path, *e.ceilings, context));
  std::vector<LayerRecord> records = layer_records(*e.timed, model.id);
  for (size_t i = 0; i < records.size(); ++i) {
    if (e.gain) add_gain(e.gain->layers[i], records[i]);
    PARE_RETURN_IF_ERROR(append(path, records[i], context));
  }
  return ok_status();
}

Status check_options(const ExplainArguments& o) {
  const bool timed = o.time || !o.against.empty();
  if (timed) PARE_RETURN_IF_ERROR(check_dataset_path(o.data.path));
  if (!o.records.empty()) {
    if (!timed) return invalid_argument("--records: there is nothing measured without --time");
    PARE_RETURN_IF_ERROR(check_can_write(o.records));
  }
  if (o.retake_ceilings && !timed) {
    return invalid_argument("--retake-ceilings: the ceilings are asked for with --time only");
  }
  return ok_status();
}

// What needs the processor's ceilings.
Status check_device(const ExplainArguments& o, const std::string& device) {
  if (device == "cpu") return ok_status();
  const char* flag = !o.against.empty()   ? "--against"
                     : !o.records.empty() ? "--records"
                     : o.retake_ceilings  ? "--retake-ceilings"
                                          : nullptr;
  if (flag == nullptr) return ok_status();
  return invalid_argument(
      fmt::format("{}: holds times against the ceilings of the processor; expected --device cpu, "
                  "found {}",
                  flag, device));
}

Status run(ExplainArguments o) {
  if (o.session.threads == 0) o.session.threads = available_cores();
  PARE_RETURN_IF_ERROR(check_options(o));
  std::vector<std::string> names = {o.model};
  if (!o.against.empty()) names.push_back(o.against);
  PARE_RETURN_IF_ERROR(check_models(names));
  std::vector<Subject> subjects;
  for (const std::string& name : names) {
    PARE_ASSIGN_OR_RETURN(MeasuredModel model, load_measured_model(name, o.session));
    PARE_RETURN_IF_ERROR(check_device(o, model.options.device));
    subjects.push_back({std::move(model), nullptr});
  }
  MeasuredModel& model = subjects[0].model;
  const auto with_name = [&o](const Status& status) { return status.with_context(o.model); };
  Explanation e;
  auto plan = model.session.plan(o.batch);
  if (!plan.ok()) return with_name(plan.status());
  e.layers = *std::move(plan);
  auto memory = model.session.memory(o.batch);
  if (!memory.ok()) return with_name(memory.status());
  e.memory = *memory;
  if (o.time || !o.against.empty()) {
    if (Status s = explain_times(subjects, o, e); !s.ok()) return with_name(s);
  }
  if (!o.records.empty()) PARE_RETURN_IF_ERROR(append_records(o.records, model, e));
  const ExplainedModel shown{model.name, model.precision, o.batch, model.options.threads,
                             o.against};
  if (o.json) {
    print_indented(explanation_json(shown, e));
  } else {
    print_explanation(shown, e);
  }
  return ok_status();
}

std::function<Status()> set_up_explain(CLI::App& app) {
  auto o = std::make_shared<ExplainArguments>();
  app.add_option("model", o->model, "Model, .onnx, .pare or of the zoo")->required();
  app.add_option("--batch", o->batch, "Images in a batch")
      ->check(whole_number(1, 1 << 16))
      ->capture_default_str();
  app.add_flag("--time", o->time,
               "Run it and show what each step takes and what the machine allows");
  app.add_option("--against", o->against,
                 "The model it was made from: what each layer gained, and why one did not; times "
                 "both");
  app.add_flag("--retake-ceilings", o->retake_ceilings,
               "Measure the machine's ceilings again instead of using those in the cache");
  app.add_option("--seconds", o->seconds, "How long it is run for --time")
      ->check(number(0, 1e5))
      ->capture_default_str();
  app.add_option("--data", o->data.path, "Images for --time; the built-in ones without it");
  add_threads_flag(app, o->session);
  add_session_flags(app, o->session);
  app.add_flag("--json", o->json, "Print an object");
  app.add_option("--records", o->records, "File of records to append the times to");
  return [o] { return run(*o); };
}

}  // namespace

Command make_explain_command() {
  return {.name = "explain",
          .summary = "Show how a model is run here, step by step, and why so",
          .examples =
              "  pare explain alexnet.pare\n"
              "  pare explain vit.onnx --batch 64 --threads 2 --time\n"
              "  pare explain alexnet-int8.onnx --against alexnet.onnx\n"
              "  pare explain mine.onnx --cpu-level avx2 --json",
          .setup = set_up_explain};
}

}  // namespace pare
