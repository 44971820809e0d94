// What the kernels' benchmarks share: two threads by default (PARE_BENCH_THREADS), the ceiling of
// the multiply-add units measured in the same run, counters in products per second of processor
// time: on a machine that others use too, elapsed time says little, and a thread that waits for the
// others still counts.
#ifndef PARE_TESTING_BENCHMARKS_H_
#define PARE_TESTING_BENCHMARKS_H_

#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/gemm/tile.h"

namespace pare::testing_benchmarks {

inline int bench_threads() {
  const char* text = std::getenv("PARE_BENCH_THREADS");
  return text == nullptr ? 2 : std::max(1, std::atoi(text));
}

inline double thread_cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Products per second of one core at its best: the largest tile over operands in the first-level
// cache.
inline double ceiling_macs_per_second(const TileSet& tiles) {
  constexpr int64_t kDepth = 64;
  constexpr int64_t kCalls = 2000;
  const int64_t width = tiles.lanes * tiles.max_vectors;
  const std::vector<int32_t> operands(static_cast<size_t>(kDepth * width), 0);
  std::vector<int32_t> sums(static_cast<size_t>(tiles.max_rows * width));
  const std::vector<const void*> rows(static_cast<size_t>(tiles.max_rows), operands.data());
  const int64_t offset = 0;
  const TileArgs args{rows.data(), &offset, 1, kDepth, operands.data(), sums.data(), width, true};
  double best = 0.0;
  for (int attempt = 0; attempt < 9; ++attempt) {
    const double start = thread_cpu_seconds();
    for (int64_t i = 0; i < kCalls; ++i) {
      tiles.tiles[tiles.max_rows - 1][tiles.max_vectors - 1](args);
      benchmark::DoNotOptimize(sums.data());
    }
    const auto macs = static_cast<double>(kCalls * kDepth * width * tiles.max_rows);
    best = std::max(best, macs / (thread_cpu_seconds() - start));
  }
  return best;
}

// Sets the counters of a benchmark that multiplied `macs` products per iteration.
inline void report_macs(benchmark::State& state, int64_t macs, double ceiling) {
  const auto each = static_cast<double>(macs);
  state.counters["GMAC/s"] =
      benchmark::Counter(each / 1e9, benchmark::Counter::kIsIterationInvariantRate);
  if (ceiling > 0.0) {
    state.counters["of_ceiling"] =
        benchmark::Counter(each / ceiling, benchmark::Counter::kIsIterationInvariantRate);
  }
}

}  // namespace pare::testing_benchmarks

#endif  // PARE_TESTING_BENCHMARKS_H_
