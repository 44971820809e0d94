#include "measure/ceilings.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "base/assets.h"
#include "base/build_info.h"
#include "base/cpu_features.h"
#include "base/file.h"
#include "base/tensor.h"
#include "base/thread_pool.h"
#include "graph/graph.h"
#include "kernels/peak/peak.h"
#include "measure/least_time.h"
#include "runtime/executor.h"

namespace pare {
namespace {

// Multiply-adds a microsecond of all threads; nullopt where no loop of this kind runs.
std::optional<double> multiply_rate(PeakKind kind, const CpuFeatures& cpu, ThreadPool& pool) {
  const PeakKernel* kernel = find_peak(kind, cpu);
  if (kernel == nullptr) return std::nullopt;
  constexpr int64_t kRounds = 60'000;  // about 0.1 ms
  constexpr int kTries = 40;
  const double us = least_us(kTries, [&] {
    pool.run(pool.threads(), [&](int64_t, int) { kernel->run(kRounds, nullptr); });
  });
  return static_cast<double>(kRounds * kernel->unit * pool.threads()) / us;
}

// Bytes of all threads together that reading is measured with: half of the first two caches, which
// are each core's own, then four times as many each time up to 256 MB. Where the last cache ends is
// found out, not asked: a virtual machine is told of one that it shares with others.
std::vector<int64_t> working_sets(const CpuInfo& cpu, int threads) {
  constexpr int64_t kLargest = int64_t{256} << 20;
  const auto known = [](int64_t bytes, int64_t usual) { return bytes > 0 ? bytes : usual; };
  std::vector<int64_t> sets = {known(cpu.l1d_bytes, 32 << 10) * threads / 2};
  for (int64_t set = known(cpu.l2_bytes, 512 << 10) * threads / 2; set < kLargest; set *= 4) {
    if (set > sets.back()) sets.push_back(set);
  }
  sets.push_back(kLargest);
  return sets;
}

Status measure_reading(const CpuInfo& cpu, const CpuFeatures& features, ThreadPool& pool,
                       CeilingsRecord& to) {
  const PeakKernel& kernel = *find_peak(PeakKind::kRead, features);
  const int64_t round_bytes = kernel.unit * 4;
  const std::vector<int64_t> sets = working_sets(cpu, pool.threads());
  PARE_ASSIGN_OR_RETURN(Tensor memory, Tensor::create(DType::kFloat32, {sets.back() / 4}));
  float* all = memory.mutable_values<float>().data();
  const int64_t share = sets.back() / 4 / pool.threads();
  // Each thread's own part, written so that the pages are there and near the core.
  pool.run(pool.threads(), [&](int64_t t, int) { std::fill_n(all + t * share, share, 1.0F); });
  for (const int64_t set : sets) {
    const int64_t rounds = std::max<int64_t>(1, set / pool.threads() / round_bytes);
    const int64_t read = rounds * round_bytes * pool.threads();
    // Small sets are gone through several times in a try of at least 2 MB.
    const int64_t times = std::max<int64_t>(1, (int64_t{2} << 20) / read);
    const int tries =
        static_cast<int>(std::clamp<int64_t>((int64_t{256} << 20) / (read * times), 3, 20));
    const double us = least_us(tries, [&] {
      pool.run(pool.threads(), [&](int64_t t, int) {
        for (int64_t i = 0; i < times; ++i) kernel.run(rounds, all + t * share);
      });
    });
    to.read_bytes.push_back(set);
    to.read_gb_s.push_back(static_cast<double>(read * times) / us / 1e3);
  }
  // What is read from a larger set at a rate can be from a smaller one.
  for (size_t i = to.read_gb_s.size() - 1; i-- > 0;) {
    to.read_gb_s[i] = std::max(to.read_gb_s[i], to.read_gb_s[i + 1]);
  }
  return ok_status();
}

double measure_barrier(ThreadPool& pool) {
  constexpr int kJobs = 20;
  constexpr int kTries = 200;
  const double us = least_us(kTries, [&pool] {
    for (int i = 0; i < kJobs; ++i) pool.run(pool.threads(), [](int64_t, int) {});
  });
  return us / kJobs;
}

// Softmaxes of four numbers, one after the other: nothing fuses them.
Graph chain_of_steps(int steps) {
  Graph graph;
  graph.name = "steps";
  graph.inputs = {{"x0", DType::kFloat32, {1, 4}}};
  for (int i = 0; i < steps; ++i) {
    graph.nodes.push_back({.op = "Softmax",
                           .name = fmt::format("step{}", i),
                           .inputs = {fmt::format("x{}", i)},
                           .outputs = {fmt::format("x{}", i + 1)}});
  }
  graph.outputs = {{fmt::format("x{}", steps), DType::kFloat32, {1, 4}}};
  return graph;
}

Result<double> chain_us(int steps, const CeilingsOptions& options) {
  PARE_ASSIGN_OR_RETURN(Executor executor,
                        Executor::create(chain_of_steps(steps), {.threads = options.threads,
                                                                 .cpu_level = options.cpu_level}));
  const Tensor input = Tensor::from_values<float>({1, 4}, {0.0F, 1.0F, 2.0F, 3.0F});
  Status status;
  constexpr int kTries = 400;
  const double us = least_us(kTries, [&] {
    if (Status s = executor.run({&input, 1}).status(); !s.ok()) status = std::move(s);
  });
  if (!status.ok()) return status;
  return us;
}

// By the difference of two lengths, so that what a run costs beside its steps falls out.
Result<double> measure_step(const CeilingsOptions& options) {
  constexpr int kFew = 8;
  constexpr int kMany = 72;
  PARE_ASSIGN_OR_RETURN(const double few, chain_us(kFew, options));
  PARE_ASSIGN_OR_RETURN(const double many, chain_us(kMany, options));
  return std::max(0.0, many - few) / (kMany - kFew);
}

std::string cache_path(const CeilingsOptions& options) {
  const CpuInfo cpu = detect_cpu();
  const std::string key =
      fmt::format("{}|{}|{}|{}|{}|{}", cpu.model, cpu.cores, features_string(cpu.features),
                  options.threads, options.cpu_level, build_version());
  return fmt::format("{}/ceilings/{}.json", cache_folder(),
                     hash_bytes(std::as_bytes(std::span(key))));
}

Result<CeilingsRecord> read_cached(const std::string& path) {
  PARE_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, 1 << 20));
  PARE_ASSIGN_OR_RETURN(const Record record, parse_record(text, path));
  return from_record<CeilingsRecord>(record);
}

}  // namespace

Result<CeilingsRecord> measure_ceilings(const CeilingsOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const CpuInfo cpu = detect_cpu();
  CpuFeatures features = cpu.features;
  if (!options.cpu_level.empty()) {
    PARE_ASSIGN_OR_RETURN(features, limit_features(features, options.cpu_level));
  }
  CeilingsRecord ceilings;
  ceilings.threads = options.threads;
  ceilings.cpu_level = options.cpu_level;
  {
    ThreadPool pool(options.threads);
    PARE_RETURN_IF_ERROR(measure_reading(cpu, features, pool, ceilings));
    const auto gmac_s = [&](PeakKind kind) {
      auto rate = multiply_rate(kind, features, pool);
      if (rate) *rate /= 1e3;
      return rate;
    };
    ceilings.float32_gmac_s = *gmac_s(PeakKind::kFloat32);
    ceilings.bfloat16_gmac_s = gmac_s(PeakKind::kBFloat16);
    ceilings.int8_gmac_s = *gmac_s(PeakKind::kInt8);
    measure_sparse_rates(features, pool, ceilings);
    ceilings.barrier_us = measure_barrier(pool);
  }
  PARE_ASSIGN_OR_RETURN(ceilings.step_us, measure_step(options));
  ceilings.seconds = us_since(begin) / 1e6;
  return ceilings;
}

Result<CeilingsRecord> load_ceilings(const CeilingsOptions& options) {
  const std::string path = cache_path(options);
  if (!options.retake) {
    Result<CeilingsRecord> cached = read_cached(path);
    if (cached.ok()) return cached;
  }
  PARE_ASSIGN_OR_RETURN(const CeilingsRecord ceilings, measure_ceilings(options));
  PARE_ASSIGN_OR_RETURN(const Record record, to_record(ceilings, current_context()));
  // Without the cache they are measured again next time: nothing is lost but that.
  if (make_directories(cache_folder() + "/ceilings").ok()) {
    static_cast<void>(write_file(path, record_line(record) + "\n"));
  }
  return ceilings;
}

double read_bytes_per_us(const CeilingsRecord& ceilings, double working_set) {
  const std::vector<int64_t>& sizes = ceilings.read_bytes;
  const auto rate = [&](size_t i) { return ceilings.read_gb_s[i] * 1e3; };
  const auto size = [&](size_t i) { return static_cast<double>(sizes[i]); };
  size_t above = 0;
  while (above < sizes.size() && size(above) < working_set) ++above;
  if (above == 0) return rate(0);
  if (above == sizes.size()) return rate(above - 1);
  const double part =
      std::log(working_set / size(above - 1)) / std::log(size(above) / size(above - 1));
  return rate(above - 1) + part * (rate(above) - rate(above - 1));
}

double macs_per_us(const CeilingsRecord& ceilings, const std::string& arithmetic) {
  return ceilings.gmac_s(arithmetic) * 1e3;
}

double sparse_macs_per_us(const CeilingsRecord& ceilings, const std::string& arithmetic,
                          double rows) {
  // From here on a weight meets whole vectors of rows (kernels/gemm/sparse_gemm.cc).
  constexpr double kManyRows = 8;
  const bool many = rows >= kManyRows;
  const bool integers = arithmetic == "int8";
  const auto& row = integers ? ceilings.sparse_row_int8_gmac_s : ceilings.sparse_row_float32_gmac_s;
  const auto& rates =
      integers ? ceilings.sparse_rows_int8_gmac_s : ceilings.sparse_rows_float32_gmac_s;
  const auto& rate = many ? rates : row;
  return rate ? *rate * 1e3 : macs_per_us(ceilings, arithmetic);
}

}  // namespace pare
