#include "kernels/quantize/quantize.h"

#include <algorithm>
#include <array>

#include "base/rounding.h"

namespace pare {
namespace {

constexpr int64_t kTaskElements = 32 * 1024;
// Ranges found side by side; more elements make longer tasks.
constexpr int64_t kMaxTasks = 64;

#define PARE_KERNEL(symbol, needs, loops) \
  constexpr DynamicQuantizeKernel symbol{#symbol, needs, nullptr, &loops};
#include "kernels/quantize/kernels.inc"
#undef PARE_KERNEL

constexpr const DynamicQuantizeKernel* kKernels[] = {
#define PARE_KERNEL(symbol, needs, loops) &symbol,
#include "kernels/quantize/kernels.inc"
#undef PARE_KERNEL
};

}  // namespace

Result<Choice<DynamicQuantizeKernel>> choose_dynamic_quantize(const DynamicQuantizeProblem& problem,
                                                              const KernelRequest& request) {
  return choose_kernel<DynamicQuantizeKernel>("dynamic quantise", kKernels, problem, request);
}

void run_dynamic_quantize(const DynamicQuantizeKernel& kernel,
                          const DynamicQuantizeProblem& problem, const float* src, uint8_t* dst,
                          float* scale, uint8_t* zero_point, ThreadPool& pool) {
  const int64_t n = problem.count;
  const int64_t step = std::max(kTaskElements, (n + kMaxTasks - 1) / kMaxTasks);
  const int64_t tasks = (n + step - 1) / step;
  // The range always contains 0, so that 0 has a code of its own.
  std::array<float, kMaxTasks> lows{};
  std::array<float, kMaxTasks> highs{};
  pool.run(tasks, [&](int64_t t, int /*worker*/) {
    const auto i = static_cast<size_t>(t);
    kernel.loops->min_max(src + t * step, std::min(step, n - t * step), &lows[i], &highs[i]);
  });
  const float low = *std::min_element(lows.begin(), lows.end());
  const float high = *std::max_element(highs.begin(), highs.end());
  *scale = high == low ? 1.0F : (high - low) / 255.0F;
  *zero_point = static_cast<uint8_t>(round_clamp(-low / *scale, 0, 0, 255));
  pool.run(tasks, [&](int64_t t, int /*worker*/) {
    kernel.loops->quantise(src + t * step, dst + t * step, std::min(step, n - t * step), *scale,
                           *zero_point);
  });
}

}  // namespace pare
