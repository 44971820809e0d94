// pare tune: the recipe that makes a model fastest or smallest and loses no more than is allowed.
#include "study/tune.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/measured_model.h"
#include "cli/model_argument.h"
#include "cli/program_identity.h"
#include "cli/progress_line.h"
#include "cli/stop_signal.h"
#include "cli/table.h"
#include "cli/trainer.h"
#include "cli/training_images.h"
#include "cli/usage.h"
#include "graph/model_file.h"
#include "report/format.h"

namespace pare {
namespace {

using Json = nlohmann::ordered_json;

struct TuningArguments {
  std::string model;
  std::string minimise = "latency";
  double budget_minutes = 30;
  std::string device = "cpu";
  std::string output;
  DatasetOptions data;
  TuningOptions options;
  bool json = false;
};

std::string drop_text(const TuningFigures& f) {
  return fmt::format("{:+.2f} ({:+.2f} to {:+.2f})", -f.drop, -f.drop_high, -f.drop_low);
}

// Nothing where it was not timed.
std::string speed_text(const TuningFigures& f) {
  return f.latency_us > 0 ? fmt::format("{:.2f}x", 1 / f.latency) : "";
}

// `best`: the word for the one that is best.
std::string verdict(const TuningArguments& o, const TuningTry& one, const TuningOutcome& so_far,
                    const char* best) {
  if (so_far.best && so_far.tries[*so_far.best].recipe == one.recipe) return best;
  return one.figures->drop > o.options.goal.max_drop ? "loses too much" : "";
}

void tell(const TuningArguments& o, const TuningTry& one, const TuningOutcome& so_far,
          ProgressLine& line) {
  if (!one.figures) {
    line.line(fmt::format("{}: {}", one.recipe, one.failure));
    return;
  }
  const TuningFigures& f = *one.figures;
  const std::string said = verdict(o, one, so_far, "best so far");
  const std::string speed = speed_text(f);
  line.line(fmt::format("{}: {} points, {}{}{}{}", one.recipe, drop_text(f),
                        speed.empty() ? "" : speed + " as fast, ", bytes_text(f.pare_bytes),
                        said.empty() ? "" : ": ", said));
}

Json try_json(const TuningTry& one) {
  Json object = {{"recipe", one.recipe}, {"seconds", one.seconds}};
  if (!one.figures) {
    object["failure"] = one.failure;
    return object;
  }
  const TuningFigures& f = *one.figures;
  object["change_points"] = -f.drop;
  object["change_points_low"] = -f.drop_high;
  object["change_points_high"] = -f.drop_low;
  object["flips_percent"] = f.flips_percent;
  if (f.latency_us > 0) {
    object["latency_us"] = f.latency_us;
    object["times_as_fast"] = 1 / f.latency;
  }
  object["pare_bytes"] = f.pare_bytes;
  return object;
}

Json test_json(const TuningTest& test) {
  return {{"data", test.data},
          {"top1_before", test.top1_before},
          {"top1", test.top1},
          {"change_points", test.comparison.difference},
          {"change_points_low", test.comparison.difference_low},
          {"change_points_high", test.comparison.difference_high},
          {"mcnemar_p", test.comparison.mcnemar_p},
          {"flips_percent", test.comparison.flips_percent}};
}

void print_json(const TuningArguments& o, const TuningResult& result) {
  Json tries = Json::array();
  for (const TuningTry& one : result.outcome.tries) tries.push_back(try_json(one));
  Json front = Json::array();
  for (const size_t i : tune_front(o.options.goal, result.outcome.tries))
    front.push_back(result.outcome.tries[i].recipe);
  const auto& best = result.outcome.best;
  print_indented(Json{{"model", o.model},
                      {"minimise", o.minimise},
                      {"max_drop", o.options.goal.max_drop},
                      {"batch", o.options.batch},
                      {"held_out", result.held_out},
                      {"top1_held_out", result.top1_held_out},
                      {"pare_bytes", result.pare_bytes},
                      {"out_of_time", result.outcome.out_of_time},
                      {"taken_over", result.known},
                      {"tries", std::move(tries)},
                      {"front", std::move(front)},
                      {"best", best ? Json(result.outcome.tries[*best].recipe) : Json()},
                      {"output", result.best_path.empty() ? Json() : Json(result.best_path)},
                      {"test", result.test ? test_json(*result.test) : Json()}});
}

void print_front(const TuningArguments& o, const TuningResult& result) {
  Table table({{"recipe", Align::kLeft},
               {"top-1, points (95 %)"},
               {"flips, %"},
               {"faster"},
               {".pare"},
               {"", Align::kLeft}});
  for (const size_t i : tune_front(o.options.goal, result.outcome.tries)) {
    const TuningTry& one = result.outcome.tries[i];
    const TuningFigures& f = *one.figures;
    table.add({one.recipe, drop_text(f), fmt::format("{:.2f}", f.flips_percent), speed_text(f),
               bytes_text(f.pare_bytes), verdict(o, one, result.outcome, "best")});
  }
  fmt::print("\n{}\n", table.text());
}

void print_result(const TuningArguments& o, const TuningResult& result) {
  print_front(o, result);
  fmt::print("searched on {}: {:.2f} % right; the model as .pare {}\n", result.held_out,
             result.top1_held_out, bytes_text(result.pare_bytes));
  if (result.outcome.out_of_time)
    fmt::print("--budget ended the search; the same command with more of it goes on\n");
  if (!result.outcome.best) {
    fmt::print("nothing tried loses at most {} points and is {}\n", o.options.goal.max_drop,
               o.minimise == "size" ? "smaller" : "faster");
    return;
  }
  const TuningTry& best = result.outcome.tries[*result.outcome.best];
  fmt::print("best: {} -> {}\n", best.recipe, result.best_path);
  if (!result.test) return;
  const PairedComparison& c = result.test->comparison;
  fmt::print(
      "on {}, looked at once, now: {:.2f} % -> {:.2f} %, {:+.2f} points ({:+.2f} to {:+.2f}), "
      "McNemar's p {:.3f}, {:.2f} % of the answers changed\n",
      result.test->data, result.test->top1_before, result.test->top1, c.difference,
      c.difference_low, c.difference_high, c.mcnemar_p, c.flips_percent);
  if (-c.difference > o.options.goal.max_drop)
    fmt::print(
        "there it loses more than {} points: a model answers images that it was trained on "
        "more surely than others; ask for less\n",
        o.options.goal.max_drop);
}

Status run(TuningArguments o) {
  TuningOptions& options = o.options;
  if (options.goal.finetune_epochs > 0) {
    const Status here = hand_over_training();
    if (!here.ok()) return here.with_context("--finetune");
  }
  options.goal.minimise =
      o.minimise == "size" ? TuningGoal::Minimise::kSize : TuningGoal::Minimise::kLatency;
  if (o.minimise == "latency" && options.seconds <= 0)
    return invalid_argument("--seconds 0 times nothing: with --minimise size only");
  options.goal.budget_seconds = 60 * o.budget_minutes;
  options.folder =
      o.output.empty() ? "runs/tune-" + std::filesystem::path(o.model).stem().string() : o.output;
  options.threads = o.data.threads;
  options.seed = o.data.seed;
  PARE_RETURN_IF_ERROR(check_dataset_path(o.data.path));
  PARE_RETURN_IF_ERROR(check_can_make_folder(options.folder));
  PARE_ASSIGN_OR_RETURN(const std::string path, model_path(o.model));
  PARE_ASSIGN_OR_RETURN(const Graph graph, load_model(path));
  PARE_ASSIGN_OR_RETURN(const std::string hash, hash_file(path));
  warn_of_assumed_preparation(o.model, graph.contract);
  const auto images = open_images_to_train_on(graph, o.data);
  if (!images.ok()) return images.status().with_context(o.model);
  options.stop = take_stop_signals();
  PARE_ASSIGN_OR_RETURN(options.program, program_identity());
  std::unique_ptr<Trainer> trainer;
  if (options.goal.finetune_epochs > 0) trainer = make_trainer(o.device, options.stop);
  options.trainer = trainer.get();
  ProgressLine line(stderr_is_terminal(), ProgressLine::Elsewhere::kPlainLines);
  options.events.progress = [&](const std::string& text) {
    line.show([&](size_t) { return text; });
  };
  options.events.tried = [&](const TuningTry& one, const TuningOutcome& so_far) {
    tell(o, one, so_far, line);
  };
  const Result<TuningResult> result = tune_model(graph, hash, images->train, images->test, options);
  line.clear();
  if (result.status().code() == StatusCode::kCancelled)
    return cancelled("stopped; the same command goes on from here");
  if (!result.ok()) return result.status().with_context(o.model);
  if (o.json) {
    print_json(o, *result);
  } else {
    print_result(o, *result);
  }
  return ok_status();
}

std::function<Status()> set_up_tune(CLI::App& app) {
  auto o = std::make_shared<TuningArguments>();
  app.add_option("model", o->model, "Model in float32, .onnx or .pare, or one of the zoo")
      ->required();
  app.add_option("--max-drop", o->options.goal.max_drop,
                 "Points of top-1 that may be lost on held-out training images")
      ->check(number(0, 100))
      ->capture_default_str();
  app.add_option("--minimise", o->minimise, "latency, or size: of the .pare file")
      ->check(one_of({"latency", "size"}))
      ->capture_default_str();
  app.add_option("--batch", o->options.batch, "Images in a batch that is timed")
      ->check(whole_number(1, 65536))
      ->capture_default_str();
  app.add_option("--budget", o->budget_minutes, "Minutes to search for; 0: no bound")
      ->check(number(0, 1e6))
      ->capture_default_str();
  app.add_option("--finetune", o->options.goal.finetune_epochs,
                 "Also try this many epochs of fine-tuning behind pruning; 0: train nothing")
      ->check(number(0, 10000))
      ->capture_default_str();
  app.add_option("--data", o->data.path,
                 "CIFAR or image folder, cifar10 or cifar100; the built-in images without it");
  app.add_option("--held-out", o->options.held_out_images,
                 "Training images that guide the search and that no recipe sees, at most a quarter")
      ->check(whole_number(1, int64_t{1} << 24))
      ->capture_default_str();
  app.add_option("--calibration-images", o->options.calibration_images,
                 "Training images that ranges and inputs of layers are measured on")
      ->check(whole_number(1, int64_t{1} << 24))
      ->capture_default_str();
  app.add_option("--seconds", o->options.seconds,
                 "Timed for each try; 0: nothing, with --minimise size")
      ->check(number(0, 100000))
      ->capture_default_str();
  app.add_option("-o,--output", o->output,
                 "Folder of what was tried and of the best models; runs/tune-MODEL without it");
  app.add_option("--device", o->device, "Where fine-tuning runs: cpu, cuda, or auto")
      ->check(one_of({"cpu", "cuda", "auto"}))
      ->capture_default_str();
  app.add_option("--threads", o->data.threads, "0: all cores")->check(whole_number(0, 1024));
  app.add_option("--seed", o->data.seed, "Of the images drawn and of fine-tuning")
      ->check(whole_number(0, int64_t{1} << 52))
      ->capture_default_str();
  app.add_flag("--strict", o->data.strict, "A broken image stops the run");
  app.add_flag("--json", o->json, "Print an object");
  return [o] { return run(*o); };
}

}  // namespace

Command make_tune_command() {
  return {.name = "tune",
          .summary = "Search for the recipe that is fastest or smallest and loses little enough",
          .examples =
              "  pare tune alexnet --max-drop 0.3\n"
              "  pare tune mine.onnx --data photos/ --minimise size --budget 60\n"
              "  pare tune vit.onnx --data cifar10 --max-drop 1 --finetune 5 --budget 300",
          .setup = set_up_tune};
}

}  // namespace pare
