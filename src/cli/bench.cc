// pare bench: how long models take, for each batch and number of threads, in turns.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/measured_model.h"
#include "cli/model_images.h"
#include "cli/progress_line.h"
#include "cli/table.h"
#include "measure/accuracy.h"
#include "measure/answer_check.h"
#include "measure/latency.h"
#include "report/format.h"

namespace pare {
namespace {

struct Options {
  std::vector<std::string> models;
  std::vector<int64_t> batches = {1, 64};
  std::vector<int> threads;  // empty: all cores
  DatasetOptions data;
  SessionOptions session;
  LatencyOptions latency;
  bool json = false;
  std::string records;
};

struct Row {
  LatencyRecord record;
  std::string checked;  // what its answers were checked against
};

// The models of one number of threads, each with images of its size.
struct Contestant {
  MeasuredModel model;
  std::shared_ptr<const Dataset> images;
};

Result<std::vector<Contestant>> load_contestants(const Options& o, int threads,
                                                 ModelImages& images) {
  std::vector<Contestant> contestants;
  for (const std::string& path : o.models) {
    SessionOptions options = o.session;
    options.threads = threads;
    PARE_ASSIGN_OR_RETURN(MeasuredModel model, load_measured_model(path, options));
    auto data = images.of(model.contract);
    if (!data.ok()) return data.status().with_context(path);
    contestants.push_back({std::move(model), *std::move(data)});
  }
  return contestants;
}

Result<std::vector<Row>> bench_batch(const Options& o, std::vector<Contestant>& contestants,
                                     int64_t batch, ProgressLine& progress) {
  std::vector<Row> rows(contestants.size());
  std::vector<LatencySubject> subjects;
  for (size_t i = 0; i < contestants.size(); ++i) {
    MeasuredModel& model = contestants[i].model;
    progress.show(
        [&](size_t) { return fmt::format("{} batch {}: checking answers", model.name, batch); });
    const auto check =
        check_answers(model.session, model.graph, model.options, *contestants[i].images, batch);
    if (!check.ok()) return check.status().with_context(model.name);
    rows[i].checked = check->text();
    subjects.push_back({.id = model.id,
                        .precision = model.precision,
                        .session = &model.session,
                        .threads = model.options.threads,
                        .cpu_level = model.options.cpu_level,
                        .images = contestants[i].images.get()});
  }
  LatencyOptions options = o.latency;
  options.batch = batch;
  options.progress = [&](int64_t done, int64_t total) {
    progress.show([&](size_t) {
      return fmt::format("batch {}, {} threads {}", batch, subjects.front().threads,
                         progress_bar(done, total));
    });
  };
  PARE_ASSIGN_OR_RETURN(std::vector<LatencyRecord> records,
                        measure_latency(subjects, *contestants.front().images, options));
  for (size_t i = 0; i < rows.size(); ++i) rows[i].record = std::move(records[i]);
  return rows;
}

Result<std::vector<Row>> bench_all(const Options& o) {
  ModelImages images(o.data);
  ProgressLine progress(stderr_is_terminal(), ProgressLine::Elsewhere::kQuiet);
  std::vector<int> threads = o.threads;
  if (threads.empty()) threads = {available_cores()};
  std::vector<Row> rows;
  for (const int count : threads) {
    PARE_ASSIGN_OR_RETURN(std::vector<Contestant> contestants, load_contestants(o, count, images));
    for (const int64_t batch : o.batches) {
      PARE_ASSIGN_OR_RETURN(std::vector<Row> more, bench_batch(o, contestants, batch, progress));
      std::ranges::move(more, std::back_inserter(rows));
    }
  }
  return rows;
}

Status print_json(const std::vector<Row>& rows) {
  nlohmann::json array = nlohmann::json::array();
  for (const Row& row : rows) {
    PARE_ASSIGN_OR_RETURN(const Record record, to_record(row.record, current_context()));
    array.push_back(record.fields);
    array.back()["checked"] = row.checked;
  }
  fmt::print("{}\n", array.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  return ok_status();
}

// The first model's time in the same setting; each batch and number of threads begins with it.
const LatencyRecord& first_in_setting(const std::vector<Row>& rows, const LatencyRecord& r) {
  const auto it = std::ranges::find_if(rows, [&r](const Row& row) {
    return row.record.batch == r.batch && row.record.threads == r.threads;
  });
  return it->record;
}

void print_table(const std::vector<Row>& rows) {
  Table table({{"model", Align::kLeft},
               {"computes in", Align::kLeft},
               {"batch"},
               {"threads"},
               {"median"},
               {"p90"},
               {"p99"},
               {"images/s"},
               {"against first"},
               {"peak memory"}});
  for (const Row& row : rows) {
    const LatencyRecord& r = row.record;
    const double ratio = first_in_setting(rows, r).latency_us_p50 / r.latency_us_p50;
    table.add({r.id.model, r.precision, std::to_string(r.batch), std::to_string(r.threads),
               duration_text(r.latency_us_p50), duration_text(r.latency_us_p90),
               duration_text(r.latency_us_p99), fmt::format("{:.0f}", r.images_per_s),
               fmt::format("{:.2f}x as fast", ratio), bytes_text(r.peak_bytes)});
  }
  fmt::print("{}\n", table.text());
  const LatencyRecord& first = rows.front().record;
  fmt::print("times of one batch, pixels to scores; {} different images in rotation: {}\n",
             first.images, first.data);
  fmt::print("peak memory: packed weights, arena and scratch of that batch\n");
  for (const Row& row : rows) {
    fmt::print("checked {}, batch {}: {}\n", row.record.id.model, row.record.batch, row.checked);
  }
}

Status run(const Options& o) {
  if (!o.records.empty()) PARE_RETURN_IF_ERROR(check_can_write(o.records));
  PARE_ASSIGN_OR_RETURN(const std::vector<Row> rows, bench_all(o));
  if (!o.records.empty()) {
    const Json context = current_context();
    for (const Row& row : rows) PARE_RETURN_IF_ERROR(append(o.records, row.record, context));
  }
  if (o.json) return print_json(rows);
  print_table(rows);
  return ok_status();
}

}  // namespace

Command make_bench_command() {
  return {
      .name = "bench",
      .summary = "Measure how long models take and what memory they need",
      .examples =
          "  pare bench alexnet.pare alexnet-int8.pare --batch 1,64 --threads 2\n"
          "  pare bench mine.onnx --batch 1 --threads 1,2,4 --data photos/ --json\n"
          "  pare bench mine.onnx --precision bfloat16 --records times.jsonl",
      .setup = [](CLI::App& app) -> std::function<Status()> {
        auto o = std::make_shared<Options>();
        app.add_option("models", o->models, "Models, .onnx, .pare or of the zoo; they take turns")
            ->required();
        app.add_option("--batch", o->batches, "Images in a batch, one or several numbers")
            ->delimiter(',')
            ->check(CLI::Range(1, 1 << 16))
            ->capture_default_str();
        app.add_option("--threads", o->threads,
                       "Threads, one or several numbers; all cores "
                       "without it")
            ->delimiter(',')
            ->check(CLI::Range(1, 1024));
        app.add_option("--data", o->data.path,
                       "CIFAR or image folder, cifar10 or cifar100; the built-in images without "
                       "it");
        app.add_option("--images", o->latency.images, "Different images in rotation, at least")
            ->check(CLI::Range(1, 1 << 20))
            ->capture_default_str();
        app.add_option("--seconds", o->latency.seconds, "Timed for each model and setting")
            ->check(CLI::Range(0.0, 1e5))
            ->capture_default_str();
        add_session_flags(app, o->session);
        app.add_flag("--json", o->json, "Print an array with an object for each measurement");
        app.add_option("--records", o->records, "File of records to append to");
        return [o] { return run(*o); };
      }};
}

}  // namespace pare
