#include "measure/latency.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/stats.h"
#include "measure/peers.h"
#include "measure/rotation.h"

namespace pare {
namespace {

constexpr int64_t kRounds = 10;

double now_us() {
  return std::chrono::duration<double, std::micro>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// One subject at work.
class Runner {
 public:
  static Result<Runner> create(Session& session, const Dataset& data, int64_t images,
                               int64_t batch) {
    PARE_ASSIGN_OR_RETURN(Rotation rotation, Rotation::create(data, images, batch));
    Runner runner(std::move(rotation), batch);
    runner.session_ = &session;
    runner.scores_.resize(static_cast<size_t>(batch * session.info().class_count));
    return runner;
  }
  static Result<Runner> create(Peer& peer, const Dataset& data, int64_t images, int64_t batch) {
    PARE_ASSIGN_OR_RETURN(Rotation rotation, Rotation::create(data, images, batch));
    Runner runner(std::move(rotation), batch);
    runner.peer_ = &peer;
    return runner;
  }

  int64_t images() const { return rotation_.images(); }
  std::vector<double>& samples_us() { return samples_us_; }
  int64_t turn_runs() const { return turn_runs_; }

  // Of a peer on a device of its own, by the device's clock.
  const std::vector<double>& device_us() const { return device_us_; }
  // Of a peer, the most it held while it ran; 0 of a session, which knows better.
  int64_t peak_bytes() const { return peak_bytes_; }

  // Runs until plans are made, memory is touched and clocks are up; then decides how many runs a
  // turn has.
  Status warm_up(const LatencyOptions& options) {
    constexpr double kWarmUpUs = 200'000;
    std::vector<double> times;
    PARE_RETURN_IF_ERROR(run(1, nullptr));
    for (double spent = 0; times.size() < 3 || spent < kWarmUpUs; spent += times.back()) {
      PARE_RETURN_IF_ERROR(run(1, &times));
    }
    const double expected = std::max(0.01, quantile(times, 0.5));
    const auto wanted = static_cast<int64_t>(std::ceil(options.seconds * 1e6 / expected));
    turn_runs_ = (std::max(wanted, options.min_runs) + kRounds - 1) / kRounds;
    samples_us_.reserve(static_cast<size_t>(turn_runs_ * kRounds));
    return ok_status();
  }

  Status run_once() { return run(1, nullptr); }
  Status turn(bool alone) {
    if (!alone) PARE_RETURN_IF_ERROR(run(1, nullptr));
    return run(turn_runs_, &samples_us_);
  }

 private:
  Runner(Rotation rotation, int64_t batch) : rotation_(std::move(rotation)), batch_(batch) {}

  // Adds the times of `runs` batches, each from pixels to scores, to `times` if there is one.
  Status run(int64_t runs, std::vector<double>* times) {
    if (peer_ != nullptr) {
      PARE_ASSIGN_OR_RETURN(const PeerTimes done, time_peer(*peer_, batch_, runs, next_image_));
      next_image_ = (next_image_ + runs * batch_) % rotation_.images();
      peak_bytes_ = std::max(peak_bytes_, done.peak_bytes);
      if (times != nullptr) {
        device_us_.insert(device_us_.end(), done.device_us.begin(), done.device_us.end());
        times->insert(times->end(), done.samples_us.begin(), done.samples_us.end());
      }
      return ok_status();
    }
    for (int64_t i = 0; i < runs; ++i) {
      const std::span<const uint8_t> pixels = rotation_.next();
      const double start = now_us();
      PARE_RETURN_IF_ERROR(session_->run(pixels, batch_, scores_));
      if (times != nullptr) times->push_back(now_us() - start);
    }
    return ok_status();
  }

  Session* session_ = nullptr;
  Peer* peer_ = nullptr;
  int64_t next_image_ = 0;  // of a peer
  int64_t peak_bytes_ = 0;
  std::vector<double> device_us_;
  Rotation rotation_;
  int64_t batch_;
  std::vector<float> scores_;
  int64_t turn_runs_ = 0;
  std::vector<double> samples_us_;
};

// By the device itself: times without copies, clocks and energy under this load.
Status add_device(const LatencySubject& subject, Runner& runner, LatencyRecord& r) {
  constexpr int kDeviceRuns = 200;
  constexpr double kEnergyUs = 1e6;
  PARE_ASSIGN_OR_RETURN(std::vector<double> times,
                        subject.session->device_times_us(r.batch, kDeviceRuns));
  r.device_us_p50 = quantile(times, 0.5);
  r.device_us_p90 = quantile(times, 0.9);
  PARE_ASSIGN_OR_RETURN(const DeviceInfo before, subject.session->device());
  int64_t batches = 0;
  for (const double start = now_us(); now_us() - start < kEnergyUs; ++batches) {
    PARE_RETURN_IF_ERROR(runner.run_once());
  }
  PARE_ASSIGN_OR_RETURN(const DeviceInfo after, subject.session->device());
  r.device = subject.device;
  r.device_name = after.name;
  if (after.clock_mhz > 0) r.clock_mhz = after.clock_mhz;
  if (after.memory_clock_mhz > 0) r.memory_clock_mhz = after.memory_clock_mhz;
  if (after.energy_joules > before.energy_joules) {
    r.millijoules_per_image = 1000 * (after.energy_joules - before.energy_joules) /
                              static_cast<double>(batches * r.batch);
  }
  return ok_status();
}

Result<LatencyRecord> make_record(const LatencySubject& subject, Runner& runner,
                                  const Dataset& data, const LatencyOptions& options) {
  LatencyRecord r;
  r.id = subject.id;
  r.engine = "pare";
  r.precision = subject.precision;
  r.cpu_level = subject.cpu_level;
  r.batch = options.batch;
  r.threads = subject.threads;
  r.runs = static_cast<int64_t>(runner.samples_us().size());
  r.latency_us_p50 = quantile(runner.samples_us(), 0.5);
  r.latency_us_p90 = quantile(runner.samples_us(), 0.9);
  r.latency_us_p99 = quantile(runner.samples_us(), 0.99);
  r.images_per_s = 1e6 * static_cast<double>(options.batch) / r.latency_us_p50;
  if (subject.peer != nullptr) {
    r.engine = subject.peer->engine;
    r.engine_version = subject.peer->version;
    r.peak_bytes = runner.peak_bytes();
    r.device = subject.device;
    if (!runner.device_us().empty()) {
      r.device_us_p50 = quantile(runner.device_us(), 0.5);
      r.device_us_p90 = quantile(runner.device_us(), 0.9);
    }
  } else {
    PARE_ASSIGN_OR_RETURN(const MemoryUse memory, subject.session->memory(options.batch));
    r.peak_bytes = memory.weights_bytes + memory.arena_bytes + memory.scratch_bytes;
    r.weights_bytes = memory.weights_bytes;
    r.arena_bytes = memory.arena_bytes;
    r.scratch_bytes = memory.scratch_bytes;
    if (!subject.device.empty()) PARE_RETURN_IF_ERROR(add_device(subject, runner, r));
  }
  r.images = runner.images();
  r.data = data.description();
  if (options.keep_samples) r.samples_us = std::move(runner.samples_us());
  return r;
}

Status check_options(const LatencyOptions& options) {
  if (options.batch < 1 || options.min_runs < 1 || options.images < 1 ||
      !(options.seconds >= 0 && options.seconds <= 1e5)) {
    return invalid_argument(fmt::format(
        "batch {}, {} runs, {} images, {} s: expected at least 1 of each, and 0 to 100,000 s",
        options.batch, options.min_runs, options.images, options.seconds));
  }
  return ok_status();
}

}  // namespace

Result<std::vector<LatencyRecord>> measure_latency(const std::vector<LatencySubject>& subjects,
                                                   const Dataset& images,
                                                   const LatencyOptions& options) {
  PARE_RETURN_IF_ERROR(check_options(options));
  const auto data_of = [&images](const LatencySubject& s) -> const Dataset& {
    return s.images != nullptr ? *s.images : images;
  };
  std::vector<Runner> runners;
  runners.reserve(subjects.size());
  for (const LatencySubject& subject : subjects) {
    const Dataset& data = data_of(subject);
    auto runner = subject.peer != nullptr
                      ? Runner::create(*subject.peer, data, options.images, options.batch)
                      : Runner::create(*subject.session, data, options.images, options.batch);
    if (!runner.ok()) return runner.status().with_context(subject.id.model);
    runners.push_back(std::move(*runner));
    if (Status s = runners.back().warm_up(options); !s.ok()) {
      return s.with_context(subject.id.model);
    }
  }
  for (int64_t round = 0; round < kRounds; ++round) {
    for (Runner& runner : runners) PARE_RETURN_IF_ERROR(runner.turn(runners.size() == 1));
    if (options.progress) options.progress(round + 1, kRounds);
  }
  std::vector<LatencyRecord> records;
  for (size_t i = 0; i < subjects.size(); ++i) {
    PARE_ASSIGN_OR_RETURN(LatencyRecord record,
                          make_record(subjects[i], runners[i], data_of(subjects[i]), options));
    records.push_back(std::move(record));
  }
  return records;
}

namespace {

// Of each step over rounds, so that a round in which the machine did something else counts as one.
std::vector<double> step_medians(const std::vector<std::vector<double>>& rounds) {
  std::vector<double> medians(rounds[0].size());
  std::vector<double> of_step(rounds.size());
  for (size_t step = 0; step < medians.size(); ++step) {
    std::ranges::transform(rounds, of_step.begin(), [step](const auto& r) { return r[step]; });
    medians[step] = quantile(of_step, 0.5);
  }
  return medians;
}

}  // namespace

Result<std::vector<std::vector<double>>> measure_steps(const std::vector<StepSubject>& subjects,
                                                       int64_t batch, double seconds) {
  LatencyOptions options = {.batch = batch, .seconds = seconds};
  PARE_RETURN_IF_ERROR(check_options(options));
  std::vector<Runner> runners;
  for (const StepSubject& s : subjects) {
    PARE_ASSIGN_OR_RETURN(Runner runner,
                          Runner::create(*s.session, *s.images, options.images, batch));
    PARE_RETURN_IF_ERROR(runner.warm_up(options));
    runners.push_back(std::move(runner));
  }
  std::vector<std::vector<std::vector<double>>> turns(subjects.size());  // [subject][round][step]
  for (int64_t round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < subjects.size(); ++i) {
      Session& session = *subjects[i].session;
      PARE_RETURN_IF_ERROR(runners[i].run_once());
      PARE_RETURN_IF_ERROR(session.time_steps(true));
      PARE_RETURN_IF_ERROR(runners[i].turn(true));
      turns[i].push_back(session.step_times_us(batch));
      PARE_RETURN_IF_ERROR(session.time_steps(false));
    }
  }
  std::vector<std::vector<double>> times;
  times.reserve(turns.size());
  for (const auto& rounds : turns) times.push_back(step_medians(rounds));
  return times;
}

Result<std::vector<double>> measure_steps(Session& session, const Dataset& images, int64_t batch,
                                          double seconds) {
  PARE_ASSIGN_OR_RETURN(auto times, measure_steps({{&session, &images}}, batch, seconds));
  return std::move(times[0]);
}

}  // namespace pare
