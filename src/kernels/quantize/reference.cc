#include "base/rounding.h"
#include "kernels/quantize/loops.h"

namespace pare {

extern const QuantizeLoops kReferenceQuantizeLoops;
const QuantizeLoops kReferenceQuantizeLoops = {
    [](const float* src, int64_t n, float* low, float* high) {
      for (int64_t i = 0; i < n; ++i) {
        if (src[i] < *low) *low = src[i];
        if (src[i] > *high) *high = src[i];
      }
    },
    [](const float* src, uint8_t* dst, int64_t n, float scale, int32_t zero_point) {
      for (int64_t i = 0; i < n; ++i) {
        dst[i] = static_cast<uint8_t>(quantise(src[i], scale, zero_point, 0, 255));
      }
    },
};

}  // namespace pare
