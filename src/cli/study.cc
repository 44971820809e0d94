// pare study: a whole experiment as one command that can be killed and goes on.

#include "study/study.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/program_identity.h"
#include "cli/progress_line.h"
#include "cli/stop_signal.h"
#include "cli/study_jobs.h"
#include "cli/trainer.h"
#include "cli/usage.h"
#include "report/report.h"

namespace pare {
namespace {

using OrderedJson = nlohmann::ordered_json;

struct StudyArguments {
  std::string config = "default";
  std::string folder;
  std::string data;
  int threads = 0;
  int jobs = 1;
  bool only_trainings = false;
  bool dry_run = false;
  bool json = false;
};

// What the user sees while a study is at work: the step at work, renewing itself, and a line for
// each that is done.
class StudyProgress {
 public:
  void begins(const std::string& step, int number, int count) {
    label_ = fmt::format("[{}/{}] {}", number, count, step);
    if (stderr_is_terminal()) progress("");
  }
  void progress(const std::string& text) {
    line_.show([&](size_t) { return text.empty() ? label_ : label_ + ": " + text; });
  }
  void ends(const StepRecord& step, int number, int count) {
    std::string text = fmt::format("[{}/{}] {}: {}", number, count, step.step, step.status);
    if (step.status == "ran") text += fmt::format(" in {:.1f} s", step.seconds);
    line(text + " (" + step.cause + ")");
  }
  void line(const std::string& text) { line_.line(text); }

 private:
  ProgressLine line_{stderr_is_terminal(), ProgressLine::Elsewhere::kPlainLines};
  std::string label_;
};

OrderedJson steps_json(const StudyResult& result) {
  OrderedJson steps = OrderedJson::array();
  for (const StepRecord& step : result.steps) {
    steps.push_back({{"step", step.step},
                     {"status", step.status},
                     {"cause", step.cause},
                     {"seconds", step.seconds}});
  }
  return steps;
}

Status print_outcome(const StudyArguments& o, const StudyConfig& config,
                     const StudyResult& result) {
  const std::string report_path = o.folder + "/report.html";
  PARE_ASSIGN_OR_RETURN(const std::string tables, make_text_tables(result.records));
  PARE_ASSIGN_OR_RETURN(const std::string html, make_html_report(result.records));
  PARE_RETURN_IF_ERROR(write_file(report_path, html));
  if (o.json) {
    const OrderedJson json = {{"study", config.name},
                              {"records", result.records_path},
                              {"report", report_path},
                              {"failed", result.failed},
                              {"steps", steps_json(result)}};
    print_indented(json);
  } else {
    fmt::print("{}\nrecords: {}\nreport:  {}\n", tables, result.records_path, report_path);
  }
  if (result.failed == 0) return ok_status();
  return Status(StatusCode::kNotFound, fmt::format("{} of {} steps failed; the report has the rest",
                                                   result.failed, result.steps.size()));
}

// Starts the jobs beside this one; gives the threads that each of them all may train with.
Result<int> start_jobs(const StudyArguments& o, const StudyConfig& config, StudyJobs& jobs) {
  const int cores = o.threads > 0 ? o.threads : available_cores();
  const int threads = std::max(1, cores / o.jobs);
  const auto trainings = std::count_if(config.nets.begin(), config.nets.end(),
                                       [](const StudyNet& net) { return !net.train.empty(); });
  for (int i = 1; i < std::min<int>(o.jobs, static_cast<int>(trainings)); ++i) {
    std::vector<std::string> arguments = {"study",  o.config,    "--only-trainings",     "--output",
                                          o.folder, "--threads", std::to_string(threads)};
    if (!o.data.empty()) arguments.insert(arguments.end(), {"--data", o.data});
    PARE_RETURN_IF_ERROR(jobs.start(std::move(arguments)));
  }
  return threads;
}

// Another job does the rest and reports.
Status print_left(const StudyArguments& o, const StudyResult& result) {
  if (o.json) {
    print_indented(steps_json(result));
  } else {
    for (const StepRecord& step : result.steps) {
      if (step.status == "left out") continue;
      fmt::print("{}: {} ({})\n", step.step, step.status, step.cause);
    }
    fmt::print("nothing more for this job: another one finishes the study\n");
  }
  if (result.failed == 0) return ok_status();
  return not_found(fmt::format("{} steps failed", result.failed));
}

Status run(StudyArguments o) {
  PARE_ASSIGN_OR_RETURN(StudyConfig config, load_study_config(o.config));
  // Without training the study leaves out what needs it.
  if (needs_trainer(config) && can_train()) PARE_RETURN_IF_ERROR(hand_over_training());
  if (!o.data.empty()) config.data = o.data;
  if (o.folder.empty()) o.folder = "runs/study-" + config.name;
  StudyOptions options;
  options.folder = o.folder;
  options.threads = o.threads;
  options.dry_run = o.dry_run;
  options.only_shared = o.only_trainings;
  options.stop = take_stop_signals();
  PARE_ASSIGN_OR_RETURN(options.program, program_identity());
  const auto trainer = make_study_trainer(options.stop);
  options.trainer = trainer.get();
  StudyProgress progress;
  if (!o.dry_run) {
    options.events.begins = [&](const std::string& step, int number, int count) {
      progress.begins(step, number, count);
    };
    options.events.progress = [&](const std::string& text) { progress.progress(text); };
    options.events.ends = [&](const StepRecord& step, int number, int count) {
      progress.ends(step, number, count);
    };
  }
  options.events.note = [&](const std::string& text) { progress.line("warning: " + text); };
  StudyJobs jobs;
  if (o.jobs > 1 && !o.dry_run) {
    PARE_ASSIGN_OR_RETURN(options.training_threads, start_jobs(o, config, jobs));
  }
  const Result<StudyResult> result = run_study(config, options);
  if (!result.ok()) {
    if (result.status().code() != StatusCode::kCancelled) return result.status();
    return cancelled(
        fmt::format("stopped; the same command goes on from here ({})", result.status().message()));
  }
  if (!result->finished) return print_left(o, *result);
  if (!o.dry_run) return print_outcome(o, config, *result);
  if (o.json) {
    print_indented(steps_json(*result));
  } else {
    for (const StepRecord& step : result->steps) {
      fmt::print("{}: {} ({})\n", step.step, step.status, step.cause);
    }
  }
  return ok_status();
}

std::function<Status()> set_up_study(CLI::App& app) {
  auto o = std::make_shared<StudyArguments>();
  app.add_option("config", o->config,
                 fmt::format("A .toml file or one of {}", fmt::join(builtin_study_names(), ", ")))
      ->capture_default_str();
  app.add_option("-o,--output", o->folder,
                 "Folder of results, records.jsonl and report.html; runs/study-NAME without it");
  app.add_option("--data", o->data,
                 "CIFAR or image folder, cifar10 or cifar100, in place of what the config says");
  app.add_option("--threads", o->threads, "0: all cores")->check(whole_number(0, 1024));
  app.add_option("--jobs", o->jobs,
                 "Trainings at once on this host, each a process with its share of the threads")
      ->check(whole_number(1, 1024))
      ->capture_default_str();
  app.add_flag("--only-trainings", o->only_trainings,
               "Run trainings of this study that no other job runs, and leave the rest to one");
  app.add_flag("--dry-run", o->dry_run, "List the steps and what would become of each, and leave");
  app.add_flag("--json", o->json, "Print the steps and the paths as JSON, not the tables");
  return [o] { return run(*o); };
}

}  // namespace

Command make_study_command() {
  return {.name = "study",
          .summary = "Run a whole experiment: make every variant, measure it, report",
          .examples =
              "  pare study\n"
              "  pare study --dry-run\n"
              "  pare study mine.toml --data photos/ --output results\n"
              "  pare study mine.toml --jobs 4\n"
              "  sbatch --array=1-8 --wrap 'pare study mine.toml --output /shared/results'\n",
          .setup = set_up_study};
}

}  // namespace pare
