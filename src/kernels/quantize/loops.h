// The inner loops of quantisation, one table an instruction set. Plain types only.
#ifndef PARE_KERNELS_QUANTIZE_LOOPS_H_
#define PARE_KERNELS_QUANTIZE_LOOPS_H_

#include <cstdint>

namespace pare {

struct QuantizeLoops {
  // Lowers *low and raises *high to contain the values; a NaN changes neither.
  void (*min_max)(const float* src, int64_t n, float* low, float* high);
  // clamp(rint(x / scale) + zero_point, 0, 255)
  void (*quantise)(const float* src, uint8_t* dst, int64_t n, float scale, int32_t zero_point);
};

extern const QuantizeLoops kReferenceQuantizeLoops;
extern const QuantizeLoops kAvx2QuantizeLoops;
extern const QuantizeLoops kAvx512QuantizeLoops;
extern const QuantizeLoops kNeonQuantizeLoops;

}  // namespace pare

#endif  // PARE_KERNELS_QUANTIZE_LOOPS_H_
