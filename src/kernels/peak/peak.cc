#include "kernels/peak/peak.h"

#include "kernels/peak/loops.h"

namespace pare {
namespace {

// Without any instruction set of the lists: whatever the compiler makes of plain loops.
constexpr int kPlainLanes = 32;

template <typename T, typename Sum>
double multiply_plain(int64_t rounds, const float*) {
  Sum sums[kPlainLanes] = {};
  T a[kPlainLanes];
  for (T& one : a) one = T{1};
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : : "r"(a) : "memory");  // the factors may have changed
    for (int i = 0; i < kPlainLanes; ++i) sums[i] += static_cast<Sum>(a[i] * a[i]);
  }
  double total = 0;
  for (const Sum sum : sums) total += static_cast<double>(sum);
  return total;
}

double read_plain(int64_t rounds, const float* memory) {
  float sums[kPlainLanes] = {};
  for (int64_t r = 0; r < rounds; ++r, memory += kPlainLanes) {
    for (int i = 0; i < kPlainLanes; ++i) sums[i] += memory[i];
  }
  double total = 0;
  for (const float sum : sums) total += static_cast<double>(sum);
  return total;
}

#define PARE_PEAK(symbol, needs, kind, unit, run) \
  const PeakKernel symbol = {#symbol, needs, PeakKind::kind, unit, run};
PARE_PEAK(peak_f32_baseline, kIsaBaseline, kFloat32, kPlainLanes, (multiply_plain<float, float>))
PARE_PEAK(peak_s8_baseline, kIsaBaseline, kInt8, kPlainLanes, (multiply_plain<int16_t, int32_t>))
PARE_PEAK(peak_read_baseline, kIsaBaseline, kRead, kPlainLanes, read_plain)
#if PARE_X86
PARE_PEAK(peak_f32_avx512, kIsaAvx512, kFloat32, 16 * kPeakChains, multiply_f32_avx512)
PARE_PEAK(peak_f32_avx2, kIsaAvx2, kFloat32, 8 * kPeakChains, multiply_f32_avx2)
PARE_PEAK(peak_bf16_avx512_bf16, kIsaAvx512 | kIsaAvx512Bf16, kBFloat16, 32 * kPeakChains,
          multiply_bf16_avx512_bf16)
PARE_PEAK(peak_s8_avx512_vnni, kIsaAvx512 | kIsaAvx512Vnni, kInt8, 64 * kPeakChains,
          multiply_s8_avx512_vnni)
PARE_PEAK(peak_s8_avx512, kIsaAvx512, kInt8, 32 * kPeakChains, multiply_s8_avx512)
PARE_PEAK(peak_s8_avx2, kIsaAvx2, kInt8, 16 * kPeakChains, multiply_s8_avx2)
PARE_PEAK(peak_read_avx512, kIsaAvx512, kRead, 16 * kPeakReads, read_avx512)
PARE_PEAK(peak_read_avx2, kIsaAvx2, kRead, 8 * kPeakReads, read_avx2)
#elif PARE_NEON
PARE_PEAK(peak_f32_neon, kIsaBaseline, kFloat32, 4 * kPeakChains, multiply_f32_neon)
PARE_PEAK(peak_s8_neon, kIsaBaseline, kInt8, 8 * kPeakChains, multiply_s8_neon)
PARE_PEAK(peak_read_neon, kIsaBaseline, kRead, 4 * kPeakReads, read_neon)
#endif
#undef PARE_PEAK

constexpr const PeakKernel* kPeakKernels[] = {
#define PARE_PEAK_KERNEL(symbol) &symbol,
#include "kernels/peak/kernels.inc"
#undef PARE_PEAK_KERNEL
};

}  // namespace

std::span<const PeakKernel* const> peak_kernels() { return kPeakKernels; }

const PeakKernel* find_peak(PeakKind kind, const CpuFeatures& cpu) {
  const IsaBits have = isa_bits(cpu);
  for (const PeakKernel* kernel : kPeakKernels) {
    if (kernel->kind == kind && (kernel->needs & ~have) == 0) return kernel;
  }
  return nullptr;
}

}  // namespace pare
