// pare bench: how long models take, for each batch and number of threads, in turns.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/file.h"
#include "base/thread_pool.h"
#include "cli/bench_peers.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/measured_model.h"
#include "cli/model_images.h"
#include "cli/progress_line.h"
#include "cli/table.h"
#include "cli/usage.h"
#include "measure/accuracy.h"
#include "measure/answer_check.h"
#include "measure/latency.h"
#include "report/format.h"

namespace pare {
namespace {

struct BenchArguments {
  std::vector<std::string> models;
  std::vector<int64_t> batches = {1, 64};
  std::vector<int> threads;  // empty: all cores
  DatasetOptions data;
  SessionOptions session;
  LatencyOptions latency;
  bool peers = false;
  std::vector<std::string> engines = PeerOptions().engines;
  bool json = false;
  std::string records;
};

struct Row {
  LatencyRecord record;
  std::string checked;  // what its answers were checked against
};

// The models of one number of threads, each with images of its size and its peers.
struct Contestant {
  MeasuredModel model;
  std::shared_ptr<const Dataset> images;
  PeerGroup peers;
};

struct Measurements {
  std::vector<Row> rows;
  std::vector<std::string> left_out;  // peers, and why
};

Result<std::vector<Contestant>> load_contestants(const BenchArguments& o, int threads,
                                                 ModelImages& images) {
  PeerPlace place;
  if (o.peers) {
    PARE_ASSIGN_OR_RETURN(place, find_peers());
  }
  std::vector<Contestant> contestants;
  for (const std::string& path : o.models) {
    SessionOptions options = o.session;
    options.threads = threads;
    PARE_ASSIGN_OR_RETURN(MeasuredModel model, load_measured_model(path, options));
    auto data = images.of(model.contract);
    if (!data.ok()) return data.status().with_context(path);
    contestants.push_back({std::move(model), *std::move(data), {}});
    if (!o.peers) continue;
    Contestant& c = contestants.back();
    PARE_ASSIGN_OR_RETURN(c.peers, open_peer_group(place, c.model, *c.images, o.engines,
                                                   o.latency.images, std::ranges::max(o.batches)));
  }
  return contestants;
}

Result<std::vector<Row>> bench_batch(const BenchArguments& o, std::vector<Contestant>& contestants,
                                     int64_t batch, ProgressLine& progress) {
  std::vector<Row> rows;
  std::vector<LatencySubject> subjects;
  for (Contestant& contestant : contestants) {
    MeasuredModel& model = contestant.model;
    const Dataset& images = *contestant.images;
    progress.show(
        [&](size_t) { return fmt::format("{} batch {}: checking answers", model.name, batch); });
    const auto check = check_answers(model.session, model.graph, model.options, images, batch);
    if (!check.ok()) return check.status().with_context(model.name);
    rows.push_back({{}, check->text()});
    subjects.push_back({.id = model.id,
                        .precision = model.precision,
                        .session = &model.session,
                        .threads = model.options.threads,
                        .cpu_level = model.options.cpu_level,
                        .device = model.options.device == "cpu" ? "" : model.options.device,
                        .images = &images});
    if (!contestant.peers.files) continue;
    progress.show(
        [&](size_t) { return fmt::format("{} batch {}: preparing peers", model.name, batch); });
    PARE_ASSIGN_OR_RETURN(std::vector<PreparedPeer> peers,
                          prepare_peer_group(contestant.peers, model, images, batch));
    for (PreparedPeer& peer : peers) {
      peer.subject.images = &images;
      subjects.push_back(std::move(peer.subject));
      rows.push_back({{}, std::move(peer.checked)});
    }
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

Result<Measurements> bench_all(const BenchArguments& o) {
  ModelImages images(o.data);
  ProgressLine progress(stderr_is_terminal(), ProgressLine::Elsewhere::kQuiet);
  std::vector<int> threads = o.threads;
  if (threads.empty()) threads = {available_cores()};
  Measurements all;
  for (const int count : threads) {
    PARE_ASSIGN_OR_RETURN(std::vector<Contestant> contestants, load_contestants(o, count, images));
    for (const int64_t batch : o.batches) {
      PARE_ASSIGN_OR_RETURN(std::vector<Row> more, bench_batch(o, contestants, batch, progress));
      std::ranges::move(more, std::back_inserter(all.rows));
    }
    for (const Contestant& c : contestants) {
      for (const std::string& why : c.peers.peers.left_out) {
        if (std::ranges::count(all.left_out, why) == 0) all.left_out.push_back(why);
      }
    }
  }
  return all;
}

// The best peer of a row of ours.
const LatencyRecord* best_peer_of(const std::vector<Row>& rows, const LatencyRecord& ours) {
  if (ours.engine != "pare") return nullptr;
  std::vector<const LatencyRecord*> records;
  records.reserve(rows.size());
  for (const Row& row : rows) records.push_back(&row.record);
  return best_peer(records, ours);
}

Status print_json(const std::vector<Row>& rows) {
  nlohmann::json array = nlohmann::json::array();
  for (const Row& row : rows) {
    PARE_ASSIGN_OR_RETURN(const Record record, to_record(row.record, current_context()));
    array.push_back(record.fields);
    array.back()["checked"] = row.checked;
    if (const LatencyRecord* best = best_peer_of(rows, row.record)) {
      array.back()["best_peer"] = best->engine;
      array.back()["ratio_to_best_peer"] = row.record.latency_us_p50 / best->latency_us_p50;
    }
  }
  print_indented(array);
  return ok_status();
}

// The first model's time in the same setting; each batch and number of threads begins with it.
const LatencyRecord& first_in_setting(const std::vector<Row>& rows, const LatencyRecord& r) {
  const auto it = std::ranges::find_if(rows, [&r](const Row& row) {
    return row.record.batch == r.batch && row.record.threads == r.threads;
  });
  return it->record;
}

void print_peers(const Measurements& all) {
  for (const Row& row : all.rows) {
    const LatencyRecord& r = row.record;
    const LatencyRecord* best = best_peer_of(all.rows, r);
    if (best == nullptr) continue;
    fmt::print("{}, {}, batch {}, {}: {} against {} by {} {}: ours / best peer {:.2f}\n",
               r.id.model, r.precision, r.batch,
               r.device.empty() ? fmt::format("{} threads", r.threads) : r.device,
               duration_text(r.latency_us_p50), duration_text(best->latency_us_p50), best->engine,
               best->engine_version, r.latency_us_p50 / best->latency_us_p50);
    if (!r.device_us_p50 || !best->device_us_p50) continue;
    fmt::print("  without copies: {} against {}: best peer / ours {:.2f}\n",
               duration_text(*r.device_us_p50), duration_text(*best->device_us_p50),
               *best->device_us_p50 / *r.device_us_p50);
  }
  for (const std::string& why : all.left_out) fmt::print("left out: {}\n", why);
}

// What the device's own clock and meter say.
void print_device(const LatencyRecord& r) {
  if (!r.device_us_p50) return;
  std::string text = fmt::format("{}, {}, batch {} on {}: {} (p90 {}) without copies", r.id.model,
                                 r.precision, r.batch, r.device_name,
                                 duration_text(*r.device_us_p50), duration_text(*r.device_us_p90));
  if (r.clock_mhz) text += fmt::format(", clock {} MHz", *r.clock_mhz);
  if (r.memory_clock_mhz) text += fmt::format(", memory {} MHz", *r.memory_clock_mhz);
  if (r.millijoules_per_image)
    text += fmt::format(", {:.3g} mJ an image", *r.millijoules_per_image);
  fmt::print("{}\n", text);
}

void print_table(const std::vector<Row>& rows) {
  Table table({{"model", Align::kLeft},
               {"engine", Align::kLeft},
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
    table.add({r.id.model, r.engine, r.precision, std::to_string(r.batch),
               std::to_string(r.threads), duration_text(r.latency_us_p50),
               duration_text(r.latency_us_p90), duration_text(r.latency_us_p99),
               fmt::format("{:.0f}", r.images_per_s), fmt::format("{:.2f}x as fast", ratio),
               bytes_text(r.peak_bytes)});
  }
  fmt::print("{}\n", table.text());
  for (const Row& row : rows) print_device(row.record);
  const LatencyRecord& first = rows.front().record;
  fmt::print("times of one batch, pixels to scores; {} different images in rotation: {}\n",
             first.images, first.data);
  fmt::print(
      "peak memory: packed weights, arena and scratch of that batch; of a peer, what its "
      "process grew by\n");
  for (const Row& row : rows) {
    const LatencyRecord& r = row.record;
    fmt::print("checked {}, {}, batch {}: {}\n", r.id.model, r.engine, r.batch, row.checked);
  }
}

Status run(const BenchArguments& o) {
  if (!o.records.empty()) PARE_RETURN_IF_ERROR(check_can_write(o.records));
  PARE_RETURN_IF_ERROR(check_models(o.models));
  PARE_RETURN_IF_ERROR(check_dataset_path(o.data.path));
  PARE_ASSIGN_OR_RETURN(const Measurements all, bench_all(o));
  const std::vector<Row>& rows = all.rows;
  if (!o.records.empty()) {
    const Json context = current_context();
    for (const Row& row : rows) PARE_RETURN_IF_ERROR(append(o.records, row.record, context));
  }
  if (o.json) {
    for (const std::string& why : all.left_out) fmt::print(stderr, "left out: {}\n", why);
    return print_json(rows);
  }
  print_table(rows);
  if (o.peers) print_peers(all);
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
          "  pare bench mine.onnx --precision bfloat16 --records times.jsonl\n"
          "  pare bench mine.onnx --batch 1 --threads 2 --peers\n"
          "  pare bench alexnet.pare --device cuda --precision float16 --batch 1,64,1024",
      .setup = [](CLI::App& app) -> std::function<Status()> {
        auto o = std::make_shared<BenchArguments>();
        app.add_option("models", o->models, "Models, .onnx, .pare or of the zoo; they take turns")
            ->required();
        app.add_option("--batch", o->batches, "Images in a batch, one or several numbers")
            ->delimiter(',')
            ->check(whole_number(1, 1 << 16))
            ->capture_default_str();
        app.add_option("--threads", o->threads,
                       "Threads, one or several numbers; all cores "
                       "without it")
            ->delimiter(',')
            ->check(whole_number(1, 1024));
        app.add_option("--data", o->data.path,
                       "CIFAR or image folder, cifar10 or cifar100; the built-in images without "
                       "it");
        app.add_option("--images", o->latency.images, "Different images in rotation, at least")
            ->check(whole_number(1, 1 << 20))
            ->capture_default_str();
        app.add_option("--seconds", o->latency.seconds, "Timed for each model and setting")
            ->check(number(0, 1e5))
            ->capture_default_str();
        add_session_flags(app, o->session);
        CLI::Option* peers =
            app.add_flag("--peers", o->peers,
                         "ONNX Runtime, OpenVINO and PyTorch on the same model and images, taking "
                         "turns (peers/setup installs them)");
        app.add_option("--engines", o->engines, "The peers that --peers means, one or several")
            ->delimiter(',')
            ->needs(peers)
            ->check(one_of(PeerOptions().engines));
        app.add_flag("--json", o->json, "Print an array with an object for each measurement");
        app.add_option("--records", o->records, "File of records to append to");
        return [o] { return run(*o); };
      }};
}

}  // namespace pare
