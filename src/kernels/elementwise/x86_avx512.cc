// Elementwise loops for AVX-512 (flags in family.cmake).
#include <immintrin.h>

#include "kernels/elementwise/loops.h"

namespace pare {
namespace {

#include "kernels/elementwise/loops_vector.inl"

void load_f16_loop(const uint16_t* src, float* dst, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i));
    _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(h));
  }
  for (; i < n; ++i) dst[i] = _cvtsh_ss(src[i]);
}

void store_f16_loop(const float* src, uint16_t* dst, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m128i h = _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + i), h);
  }
  for (; i < n; ++i) dst[i] = _cvtss_sh(src[i], _MM_FROUND_TO_NEAREST_INT);
}

}  // namespace

extern const ElementwiseLoops kAvx512Loops;
const ElementwiseLoops kAvx512Loops = make_loops(load_f16_loop, store_f16_loop);

}  // namespace pare
