// Times the dense layers of cases.inc, one image and sixty-four, by the kernel that would be
// chosen; the first row of the result is checked against the reference before the clock starts.
// gemm_pruned/... are layers with many zero weights, gemm_columns/... layers with many zero inputs:
// the first kernel for them and the first for any take turns on one core, in its own processor
// time; their results must be equal.
#include <fmt/format.h>

#include <cstring>

#include "base/cpu_features.h"
#include "kernels/gemm/gemm.h"
#include "testing/benchmarks.h"
#include "testing/compare.h"
#include "testing/operands.h"

namespace pare {
namespace {

using namespace testing_benchmarks;
using namespace testing_compare;
using namespace testing_operands;

struct Layer {
  const char* name;
  int64_t rows, n, k;
};
constexpr Layer kLayers[] = {
#define PARE_GEMM_SIZE(m, n, k)
#define PARE_GEMM_LAYER(name, rows, n, k) {#name, rows, n, k},
#define PARE_MATMUL_SIZE(batch, m, n, k)
#include "kernels/gemm/cases.inc"
#undef PARE_GEMM_SIZE
#undef PARE_GEMM_LAYER
#undef PARE_MATMUL_SIZE
};

std::vector<float> first_row_by_reference(const GemmProblem& p, const GemmArgs& args,
                                          const GemmWeights& weights) {
  const GemmKernel& reference = *gemm_kernels().back();
  GemmProblem one = p;
  one.m = 1;
  GuardedBuffer packed(gemm_packed_bytes(reference, weights));
  gemm_pack(reference, weights, packed.data());
  GuardedBuffer dst(p.n * dtype_bytes(p.dst_type));
  GemmArgs its = args;
  its.packed = packed.data();
  its.dst = dst.data();
  ThreadPool pool(1);
  gemm_run(reference, one, its, pool);
  return as_floats(p.dst_type, dst);
}

void time_layer(benchmark::State& state, const Layer& layer, int64_t batch, DType src,
                DType weights_type) {
  Rng rng(1, RngPurpose::kTiming);
  GemmProblem p{batch * layer.rows, layer.n, layer.k, src, weights_type, src};
  GuardedBuffer x = random_operand(rng, src, p.m * p.k, true);
  GuardedBuffer w = random_operand(rng, weights_type, p.n * p.k);
  const GemmWeights weights{p.n, p.k, weights_type, w.data()};
  const std::vector<float> bias = random_floats(rng, p.n, -1.0F, 1.0F);
  const std::vector<float> multiplier = random_floats(rng, p.n, 1e-6F, 2e-6F);
  const auto choice = choose_gemm(p, {detect_cpu().features, "", false});
  if (!choice.ok()) return state.SkipWithError(choice.status().message().c_str());
  const GemmKernel& kernel = *choice->kernel;
  GuardedBuffer packed((gemm_packed_bytes(kernel, weights) + 63) / 64 * 64);
  gemm_pack(kernel, weights, packed.data());
  ThreadPool pool(bench_threads());
  GuardedBuffer scratch((gemm_scratch_bytes(kernel, p, pool.threads()) + 63) / 64 * 64);
  GuardedBuffer dst(p.m * p.n * dtype_bytes(p.dst_type));
  GemmArgs args{x.data(), p.k, packed.data(), dst.data(), p.n, {}, scratch.bytes()};
  args.epilogue.activation = Activation::kRelu;
  if (weights_type == DType::kInt8) {
    args.epilogue.multiplier = multiplier.data();
  } else {
    args.epilogue.bias = bias.data();
  }
  gemm_run(kernel, p, args, pool);
  std::vector<float> got = as_floats(p.dst_type, dst);
  got.resize(static_cast<size_t>(p.n));
  const Tolerance tolerance = weights_type == DType::kInt8
                                  ? Tolerance{}
                                  : product_tolerance(p.k, 1.0, 1.0, p.dst_type, 1.0);
  const auto right = all_close(got, first_row_by_reference(p, args, weights), tolerance);
  if (!right) return state.SkipWithError(right.message());
  const double ceiling = ceiling_macs_per_second(*static_cast<const TileSet*>(kernel.tiles));
  for (auto _ : state) gemm_run(kernel, p, args, pool);
  report_macs(state, p.m * p.n * p.k, ceiling);
  state.SetLabel(kernel.name);
  state.counters["weights_GB/s"] =
      benchmark::Counter(static_cast<double>(gemm_packed_bytes(kernel, weights)) / 1e9,
                         benchmark::Counter::kIsIterationInvariantRate);
}

// The first kernel that takes `p`, with its packed weights and its result.
struct Contender {
  const GemmKernel* kernel = nullptr;
  GuardedBuffer packed{0}, scratch{0}, dst{0};
  std::vector<double> seconds;

  static Contender of(const GemmKernel& kernel, const GemmProblem& p, const GemmWeights& weights) {
    Contender c;
    c.kernel = &kernel;
    c.packed = GuardedBuffer((gemm_packed_bytes(kernel, weights) + 63) / 64 * 64);
    gemm_pack(kernel, weights, c.packed.data());
    c.scratch = GuardedBuffer((gemm_scratch_bytes(kernel, p, 1) + 63) / 64 * 64);
    c.dst = GuardedBuffer(p.m * p.n * dtype_bytes(p.dst_type));
    return c;
  }
  void run(const GemmProblem& p, GemmArgs args, ThreadPool& pool) {
    args.packed = packed.data();
    args.scratch = scratch.bytes();
    args.dst = dst.data();
    const double start = thread_cpu_seconds();
    gemm_run(*kernel, p, args, pool);
    seconds.push_back(thread_cpu_seconds() - start);
  }
  double median_us() {
    const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
    std::nth_element(seconds.begin(), middle, seconds.end());
    return 1e6 * *middle;
  }
};

// The first kernel whose name says "sparse" or "columns", whether or not the layer is one where it
// pays, or, for an empty word, the first of all others.
const GemmKernel* find_kernel(GemmProblem p, const std::string& word) {
  p.weight_density = 0.0;
  p.sparse_src = true;
  p.n = p.k = 4096;
  const IsaBits have = isa_bits(detect_cpu().features);
  for (const GemmKernel* kernel : gemm_kernels()) {
    if ((kernel->needs & ~have) != 0 || kernel->refuse(p) != nullptr) continue;
    const std::string name = kernel->name;
    const bool special =
        name.find("sparse") != std::string::npos || name.find("columns") != std::string::npos;
    if (word.empty() ? !special : name.find(word) != std::string::npos) return kernel;
  }
  return nullptr;
}

struct Zeros {
  int64_t m;
  const char* kernel;     // a word of its name
  double src_density;     // the share that is not zero
  double weight_density;  // likewise
};

void time_zeros(benchmark::State& state, const Layer& layer, const Zeros& how, DType src,
                DType weights_type) {
  Rng rng(1, RngPurpose::kTiming);
  GemmProblem p{how.m, layer.n, layer.k, src, weights_type, src};
  p.weight_density = how.weight_density;
  GuardedBuffer x = random_operand(rng, src, p.m * p.k);
  for (int64_t i = 0; i < p.m * p.k; ++i) {
    if (rng.bernoulli(static_cast<float>(how.src_density))) continue;
    store_from_float(src, x.data(), i, 0.0F, {});
  }
  GuardedBuffer w = random_operand(rng, weights_type, p.n * p.k);
  const int64_t bytes = dtype_bytes(weights_type);
  for (int64_t i = 0; i < p.n * p.k; ++i) {
    if (rng.bernoulli(static_cast<float>(how.weight_density))) continue;
    std::memset(w.data() + i * bytes, 0, static_cast<size_t>(bytes));
  }
  const GemmWeights weights{p.n, p.k, weights_type, w.data()};
  const std::vector<float> multiplier = random_floats(rng, p.n, 1e-6F, 2e-6F);
  const GemmKernel* kernels[2] = {find_kernel(p, ""), find_kernel(p, how.kernel)};
  if (kernels[1] == nullptr) return state.SkipWithError("no kernel for zeros here");
  Contender dense = Contender::of(*kernels[0], p, weights);
  Contender without = Contender::of(*kernels[1], p, weights);
  GemmArgs args;
  args.src = x.data();
  args.src_stride = p.k;
  args.dst_stride = p.n;
  if (weights_type == DType::kInt8) args.epilogue.multiplier = multiplier.data();
  ThreadPool pool(1);
  for (auto _ : state) {
    dense.run(p, args, pool);
    without.run(p, args, pool);
  }
  const auto equal =
      all_equal<float>(as_floats(p.dst_type, without.dst), as_floats(p.dst_type, dense.dst));
  if (!equal) return state.SkipWithError(equal.message());
  state.SetLabel(without.kernel->name);
  state.counters["dense_us"] = dense.median_us();
  state.counters["without_zeros_us"] = without.median_us();
  state.counters["times"] = dense.median_us() / without.median_us();
  state.counters["bytes_of_dense"] = static_cast<double>(without.packed.size_bytes()) /
                                     static_cast<double>(dense.packed.size_bytes());
}

const bool kRegistered = [] {
  const struct {
    const char* name;
    DType src, weights;
  } types[] = {{"f32", DType::kFloat32, DType::kFloat32},
               {"bf16", DType::kBFloat16, DType::kBFloat16},
               {"int8", DType::kUInt8, DType::kInt8}};
  for (const Layer& layer : kLayers) {
    for (const auto& t : types) {
      if (t.weights == DType::kBFloat16) continue;
      for (const int64_t m : {1, 25, 64, 100}) {
        for (const double density : {0.5, 0.4, 0.3, 0.2, 0.1, 0.05}) {
          const std::string name =
              fmt::format("gemm_pruned/{}/{}/m{}/d{}", layer.name, t.name, m, density);
          benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
            time_zeros(state, layer, {m, "sparse", 0.5, density}, t.src, t.weights);
          })->Unit(benchmark::kMicrosecond);
        }
      }
    }
  }
  for (const Layer& layer : kLayers) {
    for (const auto& t : types) {
      for (const int64_t m : {1, 2, 4, 8, 64}) {
        for (const double density : {1.0, 0.5, 0.4, 0.3, 0.2, 0.1}) {
          const std::string name =
              fmt::format("gemm_columns/{}/{}/m{}/d{}", layer.name, t.name, m, density);
          benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
            time_zeros(state, layer, {m, "columns", density, 1.0}, t.src, t.weights);
          })->Unit(benchmark::kMicrosecond);
        }
      }
    }
  }
  for (const Layer& layer : kLayers) {
    for (const auto& t : types) {
      for (const int64_t batch : {1, 64}) {
        const std::string name = fmt::format("gemm/{}/{}/b{}", layer.name, t.name, batch);
        benchmark::RegisterBenchmark(
            name.c_str(),
            [=](benchmark::State& state) { time_layer(state, layer, batch, t.src, t.weights); })
            ->MeasureProcessCPUTime()
            ->Unit(benchmark::kMicrosecond);
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace pare
