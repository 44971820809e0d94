// Times the convolutions of cases.inc, one image and sixty-four, by the kernel that would be
// chosen; the first image of the result is checked against the reference before the clock starts.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/cpu_features.h"
#include "kernels/conv/conv.h"
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
  int64_t size, in_c, out_c, kernel, stride, pad;
};
constexpr Layer kLayers[] = {
#define PARE_CONV_SIZE(b, h, w, c, o, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr, g)
#define PARE_CONV_LAYER(name, size, c, o, kernel, stride, pad) \
  {#name, size, c, o, kernel, stride, pad},
#include "kernels/conv/cases.inc"
#undef PARE_CONV_SIZE
#undef PARE_CONV_LAYER
};

ConvProblem problem_of(const Layer& l, int64_t batch) {
  ConvProblem p{batch,   l.size,   l.size,   l.in_c,   0,       0,
                l.out_c, l.kernel, l.kernel, l.stride, l.stride};
  p.pad_top = p.pad_left = p.pad_bottom = p.pad_right = l.pad;
  p.out_h = p.out_w = conv_out_size(l.size, 2 * l.pad, l.kernel, l.stride, 1);
  return p;
}

std::vector<float> first_image_by_reference(const ConvProblem& p, const ConvArgs& args,
                                            const void* weights) {
  const ConvKernel& reference = *conv_kernels().back();
  ConvProblem one = p;
  one.batch = 1;
  GuardedBuffer packed(conv_packed_bytes(reference, one, weights));
  conv_pack(reference, one, weights, packed.data());
  GuardedBuffer dst(p.out_h * p.out_w * p.out_c * dtype_bytes(p.dst_type));
  ConvArgs its = args;
  its.packed = packed.data();
  its.dst = dst.data();
  ThreadPool pool(bench_threads());
  conv_run(reference, one, its, pool);
  return as_floats(p.dst_type, dst);
}

void time_layer(benchmark::State& state, const Layer& layer, int64_t batch, DType src,
                DType weights_type) {
  Rng rng(1, RngPurpose::kTiming);
  ConvProblem p = problem_of(layer, batch);
  p.src_type = p.dst_type = src;
  p.weights_type = weights_type;
  const int64_t terms = p.in_c * p.kernel_h * p.kernel_w;
  GuardedBuffer x = random_operand(rng, src, batch * p.in_h * p.in_w * p.in_c, true);
  GuardedBuffer w = random_operand(rng, weights_type, p.out_c * terms);
  const std::vector<float> bias = random_floats(rng, p.out_c, -1.0F, 1.0F);
  const std::vector<float> multiplier = random_floats(rng, p.out_c, 1e-6F, 2e-6F);
  const auto choice = choose_conv(p, {detect_cpu().features, "", false});
  if (!choice.ok()) return state.SkipWithError(choice.status().message().c_str());
  const ConvKernel& kernel = *choice->kernel;
  GuardedBuffer packed((conv_packed_bytes(kernel, p, w.data()) + 63) / 64 * 64);
  conv_pack(kernel, p, w.data(), packed.data());
  ThreadPool pool(bench_threads());
  GuardedBuffer scratch((conv_scratch_bytes(kernel, p, pool.threads()) + 63) / 64 * 64);
  GuardedBuffer dst(batch * p.out_h * p.out_w * p.out_c * dtype_bytes(p.dst_type));
  ConvArgs args{x.data(), packed.data(), dst.data(), {}, scratch.bytes()};
  args.epilogue.activation = Activation::kRelu;
  if (weights_type == DType::kInt8) {
    args.epilogue.multiplier = multiplier.data();
  } else {
    args.epilogue.bias = bias.data();
  }
  conv_run(kernel, p, args, pool);
  const std::vector<float> want = first_image_by_reference(p, args, w.data());
  std::vector<float> got = as_floats(p.dst_type, dst);
  got.resize(want.size());
  const Tolerance tolerance = weights_type == DType::kInt8
                                  ? Tolerance{}
                                  : product_tolerance(terms, 1.0, 1.0, p.dst_type, 1.0);
  const auto right = all_close(got, want, tolerance);
  if (!right) return state.SkipWithError(right.message());
  const double ceiling = ceiling_macs_per_second(*static_cast<const TileSet*>(kernel.tiles));
  for (auto _ : state) conv_run(kernel, p, args, pool);
  report_macs(state, batch * p.out_h * p.out_w * p.out_c * terms, ceiling);
  state.SetLabel(kernel.name);
}

// The first kernel for pruned weights and the first for any take turns on one core, each timed in
// its own processor time; their results must be equal.
void time_pruned(benchmark::State& state, const Layer& layer, int64_t batch, double density,
                 DType src, DType weights_type) {
  Rng rng(1, RngPurpose::kTiming);
  ConvProblem p = problem_of(layer, batch);
  p.src_type = p.dst_type = src;
  p.weights_type = weights_type;
  const int64_t count = p.out_c * p.in_c * p.kernel_h * p.kernel_w;
  GuardedBuffer x = random_operand(rng, src, batch * p.in_h * p.in_w * p.in_c, true);
  GuardedBuffer w = random_operand(rng, weights_type, count);
  const int64_t bytes = dtype_bytes(weights_type);
  for (int64_t i = 0; i < count; ++i) {
    if (rng.bernoulli(static_cast<float>(density))) continue;
    std::memset(w.data() + i * bytes, 0, static_cast<size_t>(bytes));
  }
  const std::vector<float> multiplier = random_floats(rng, p.out_c, 1e-6F, 2e-6F);
  ThreadPool pool(1);
  std::vector<double> seconds[2];
  std::vector<GuardedBuffer> packed, scratch, dst;
  const ConvKernel* kernels[2];
  for (int i = 0; i < 2; ++i) {
    p.weight_density = i == 0 ? 1.0 : 0.0;
    const auto choice = choose_conv(p, {detect_cpu().features, "", false});
    if (!choice.ok()) return state.SkipWithError(choice.status().message().c_str());
    kernels[i] = choice->kernel;
    packed.emplace_back((conv_packed_bytes(*kernels[i], p, w.data()) + 63) / 64 * 64);
    conv_pack(*kernels[i], p, w.data(), packed.back().data());
    scratch.emplace_back((conv_scratch_bytes(*kernels[i], p, 1) + 63) / 64 * 64);
    dst.emplace_back(batch * p.out_h * p.out_w * p.out_c * dtype_bytes(src));
  }
  for (auto _ : state) {
    for (size_t i = 0; i < 2; ++i) {
      ConvArgs args{x.data(), packed[i].data(), dst[i].data(), {}, scratch[i].bytes()};
      if (weights_type == DType::kInt8) args.epilogue.multiplier = multiplier.data();
      const double start = thread_cpu_seconds();
      conv_run(*kernels[i], p, args, pool);
      seconds[i].push_back(thread_cpu_seconds() - start);
    }
  }
  const auto equal = all_equal<float>(as_floats(src, dst[1]), as_floats(src, dst[0]));
  if (!equal) return state.SkipWithError(equal.message());
  double median[2];
  for (size_t i = 0; i < 2; ++i) {
    std::sort(seconds[i].begin(), seconds[i].end());
    median[i] = 1e6 * seconds[i][seconds[i].size() / 2];
  }
  state.SetLabel(kernels[1]->name);
  state.counters["dense_us"] = median[0];
  state.counters["pruned_us"] = median[1];
  state.counters["times"] = median[0] / median[1];
  state.counters["bytes_of_dense"] =
      static_cast<double>(packed[1].size_bytes()) / static_cast<double>(packed[0].size_bytes());
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
      if (t.weights == DType::kBFloat16 || layer.size > 56) continue;
      for (const int64_t batch : {1, 4}) {
        for (const double density : {0.5, 0.4, 0.3, 0.2, 0.1, 0.05}) {
          const std::string name =
              fmt::format("conv_pruned/{}/{}/b{}/d{}", layer.name, t.name, batch, density);
          benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
            time_pruned(state, layer, batch, density, t.src, t.weights);
          })->Unit(benchmark::kMicrosecond);
        }
      }
    }
  }
  for (const Layer& layer : kLayers) {
    for (const auto& t : types) {
      for (const int64_t batch : {1, 64}) {
        if (batch > 1 && layer.size > 32) continue;  // images of 224 x 224
        const std::string name = fmt::format("conv/{}/{}/b{}", layer.name, t.name, batch);
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
