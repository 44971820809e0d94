// pare eval: how many test images models answer rightly, and what changed from the first to each.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/file.h"
#include "base/numerals.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/measured_model.h"
#include "cli/model_images.h"
#include "cli/progress_line.h"
#include "cli/table.h"
#include "cli/usage.h"
#include "measure/accuracy.h"
#include "measure/paired.h"

namespace pare {
namespace {

struct EvalArguments {
  std::vector<std::string> models;
  DatasetOptions data;
  SessionOptions session;
  EvaluationOptions evaluation;
  bool json = false;
  std::string predictions;
  std::string records;
};

// What is known of one model.
struct EvaluatedModel {
  AccuracyRecord accuracy;
  PredictionsRecord predictions;
  Evaluation evaluation;
  std::optional<PairedComparison> against_first;  // none for the first
};

Result<EvaluatedModel> evaluate_model(const std::string& path, const EvalArguments& o,
                                      ModelImages& images) {
  PARE_ASSIGN_OR_RETURN(MeasuredModel model, load_measured_model(path, o.session));
  model.graph = {};  // the session has packed what it needs
  auto data = images.of(model.contract);
  if (!data.ok()) return data.status().with_context(path);
  EvaluationOptions options = o.evaluation;
  ProgressLine progress(stderr_is_terminal(), ProgressLine::Elsewhere::kQuiet);
  options.progress = [&](int64_t done, int64_t total) {
    progress.show([&](size_t) {
      return fmt::format("{} {} {} images", path, progress_bar(done, total), with_thousands(done));
    });
  };
  Result<Evaluation> evaluation = evaluate(model.session, **data, options);
  if (!evaluation.ok()) return evaluation.status().with_context(path);
  const EvaluationSubject subject = {.id = model.id, .precision = model.precision};
  EvaluatedModel row;
  row.accuracy = accuracy_record(*evaluation, **data, subject);
  row.predictions = predictions_record(*evaluation, **data, subject);
  row.evaluation = *std::move(evaluation);
  return row;
}

Result<std::vector<EvaluatedModel>> evaluate_all(const EvalArguments& o) {
  ModelImages images(o.data);
  std::vector<EvaluatedModel> rows;
  for (const std::string& path : o.models) {
    PARE_ASSIGN_OR_RETURN(EvaluatedModel row, evaluate_model(path, o, images));
    if (!rows.empty()) {
      const EvaluatedModel& first = rows.front();
      auto comparison = compare_paired(first.evaluation, row.evaluation,
                                       static_cast<int64_t>(row.accuracy.classes.size()));
      if (!comparison.ok()) return comparison.status().with_context(path);
      row.against_first = *comparison;
      add_comparison(*comparison, first.accuracy.id.model, row.accuracy);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

Status print_json(const std::vector<EvaluatedModel>& rows) {
  nlohmann::json array = nlohmann::json::array();
  for (const EvaluatedModel& row : rows) {
    PARE_ASSIGN_OR_RETURN(const Record record, to_record(row.accuracy, current_context()));
    nlohmann::json object = record.fields;
    // The first model stands against itself.
    const PairedComparison comparison = row.against_first.value_or(PairedComparison{});
    object["flips"] = comparison.flips_percent;
    object["mcnemar_p"] = comparison.mcnemar_p;
    object["seconds"] = row.evaluation.seconds;
    if (row.against_first) {
      object["top1_difference"] = comparison.difference;
      object["top1_difference_low"] = comparison.difference_low;
      object["top1_difference_high"] = comparison.difference_high;
      object["worst_class"] = row.accuracy.classes[static_cast<size_t>(comparison.worst_class)];
      object["worst_class_loss"] = comparison.worst_loss;
    }
    array.push_back(std::move(object));
  }
  print_indented(array);
  return ok_status();
}

void print_table(const std::vector<EvaluatedModel>& rows) {
  Table table({{"model", Align::kLeft},
               {"computes in", Align::kLeft},
               {"images"},
               {"top-1 %"},
               {"95 % interval"},
               {"top-5 %"},
               {"flips %"},
               {"p"},
               {"worst class", Align::kLeft},
               {"images/s"}});
  for (const EvaluatedModel& row : rows) {
    const AccuracyRecord& a = row.accuracy;
    std::vector<std::string> cells = {
        a.id.model,
        a.precision,
        with_thousands(a.images),
        fmt::format("{:.2f}", a.top1),
        fmt::format("{:.2f} to {:.2f}", a.top1_low, a.top1_high),
        fmt::format("{:.2f}", a.top5),
        "",
        "",
        "",
        fmt::format("{:.0f}", static_cast<double>(a.images) / row.evaluation.seconds)};
    if (row.against_first) {
      const PairedComparison& c = *row.against_first;
      cells[6] = fmt::format("{:.2f}", c.flips_percent);
      cells[7] = fmt::format("{:.3g}", c.mcnemar_p);
      cells[8] = c.worst_loss > 0
                     ? fmt::format("{} -{:.1f}", a.classes[static_cast<size_t>(c.worst_class)],
                                   c.worst_loss)
                     : "none lost";
    }
    table.add(std::move(cells));
  }
  fmt::print("{}", table.text());
  fmt::print("\ndata: {}\n", rows.front().accuracy.data);
  for (const EvaluatedModel& row : rows) {
    const ModelIdentity& id = row.accuracy.id;
    if (!id.trained_on.empty()) fmt::print("{}: trained on {}\n", id.model, id.trained_on);
  }
  if (rows.size() < 2) return;
  fmt::print(
      "flips: images whose top-1 class is not the first model's; p: McNemar's exact test that "
      "both\n"
      "are right equally often; worst class: the one that lost most, in percentage points\n");
}

// One class index a line, in the order of the images.
std::string predictions_text(const Evaluation& evaluation) {
  std::string text;
  for (const int64_t c : evaluation.predicted) text += std::to_string(c) + "\n";
  return text;
}

Status run(const EvalArguments& o) {
  if (!o.predictions.empty() && o.models.size() != 1) {
    return invalid_argument(
        fmt::format("--predictions takes the answers of one model, {} are given", o.models.size()));
  }
  for (const std::string& path : {o.predictions, o.records}) {
    if (!path.empty()) PARE_RETURN_IF_ERROR(check_can_write(path));
  }
  PARE_RETURN_IF_ERROR(check_models(o.models));
  PARE_RETURN_IF_ERROR(check_dataset_path(o.data.path));
  PARE_ASSIGN_OR_RETURN(const std::vector<EvaluatedModel> rows, evaluate_all(o));
  if (!o.predictions.empty()) {
    PARE_RETURN_IF_ERROR(write_file(o.predictions, predictions_text(rows.front().evaluation)));
  }
  if (!o.records.empty()) {
    const Json context = current_context();
    for (const EvaluatedModel& row : rows) {
      PARE_RETURN_IF_ERROR(append(o.records, row.accuracy, context));
      PARE_RETURN_IF_ERROR(append(o.records, row.predictions, context));
    }
  }
  if (o.json) return print_json(rows);
  print_table(rows);
  return ok_status();
}

}  // namespace

Command make_eval_command() {
  return {.name = "eval",
          .summary = "Measure the accuracy of models on test images",
          .examples =
              "  pare eval alexnet.pare --data cifar10\n"
              "  pare eval alexnet.pare alexnet-int8.pare --data cifar-10-batches-bin --json\n"
              "  pare eval mine.onnx --data photos/ --predictions answers.txt",
          .setup = [](CLI::App& app) -> std::function<Status()> {
            auto o = std::make_shared<EvalArguments>();
            app.add_option("models", o->models,
                           "Models, .onnx, .pare or of the zoo; each is compared with the first")
                ->required();
            app.add_option(
                "--data", o->data.path,
                "CIFAR or image folder, cifar10 or cifar100; the built-in images without "
                "it");
            app.add_option("--images", o->evaluation.images, "Only the first so many")
                ->check(whole_number(1, int64_t{1} << 40));
            app.add_option("--batch", o->evaluation.batch_size, "Images in a batch")
                ->check(whole_number(1, 1 << 16));
            add_threads_flag(app, o->session);
            add_session_flags(app, o->session);
            app.add_flag("--strict", o->data.strict, "A broken image stops the run");
            app.add_flag("--json", o->json, "Print an array with an object for each model");
            app.add_option("--predictions", o->predictions,
                           "File for the answers: a class index on every line");
            app.add_option("--records", o->records, "File of records to append to");
            return [o] { return run(*o); };
          }};
}

}  // namespace pare
