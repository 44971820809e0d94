// Elementwise loops for NEON, which every compiler for 64-bit ARM vectorises for.
#include "kernels/elementwise/loops.h"

namespace pare {
namespace {

#include "kernels/elementwise/loops_vector.inl"

void load_f16_loop(const uint16_t* src, float* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    __fp16 half;
    __builtin_memcpy(&half, src + i, 2);
    dst[i] = half;
  }
}

void store_f16_loop(const float* src, uint16_t* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const __fp16 half = static_cast<__fp16>(src[i]);
    __builtin_memcpy(dst + i, &half, 2);
  }
}

}  // namespace

extern const ElementwiseLoops kNeonLoops;
const ElementwiseLoops kNeonLoops = make_loops(load_f16_loop, store_f16_loop);

}  // namespace pare
