// Times the dense layers of cases.inc, one image and sixty-four, by the kernel that would be
// chosen; the first row of the result is checked against the reference before the clock starts.
#include <fmt/format.h>

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
  p.sparse_src = true;
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

const bool kRegistered = [] {
  const struct {
    const char* name;
    DType src, weights;
  } types[] = {{"f32", DType::kFloat32, DType::kFloat32},
               {"bf16", DType::kBFloat16, DType::kBFloat16},
               {"int8", DType::kUInt8, DType::kInt8}};
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
