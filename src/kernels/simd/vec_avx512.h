// V: sixteen float32 lanes of AVX-512 (F, BW, DQ, VL) and what the kernels need of them.
//
// Only files compiled for AVX-512 include this. vec_avx2.h and vec_scalar.h give the same names, so
// that an algorithm is written once. Everything has internal linkage: no code of one instruction
// set can be picked by the linker for another.
#ifndef PARE_KERNELS_SIMD_VEC_AVX512_H_
#define PARE_KERNELS_SIMD_VEC_AVX512_H_

#include <immintrin.h>

#include <cstdint>

namespace pare {
namespace {

struct V {
  using F = __m512;
  using I = __m512i;
  using M = __mmask16;
  static constexpr int kLanes = 16;

  static __mmask16 first(int64_t n) { return static_cast<__mmask16>((1U << n) - 1U); }

  static F zero() { return _mm512_setzero_ps(); }
  static F set(float v) { return _mm512_set1_ps(v); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  // The first n lanes, n in 0 … kLanes; the others are zero and their memory is not touched.
  static F load_n(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
  static void store(float* p, F v) { _mm512_storeu_ps(p, v); }
  static void store_n(float* p, F v, int64_t n) { _mm512_mask_storeu_ps(p, first(n), v); }
  static F broadcast(const void* p) { return _mm512_set1_ps(*static_cast<const float*>(p)); }

  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F sqrt(F a) { return _mm512_sqrt_ps(a); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  // a > b ? a : b and a < b ? a : b, b if either is a NaN.
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F round(F a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static F abs(F a) { return _mm512_abs_ps(a); }
  static M less(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static F select(M m, F yes, F no) { return _mm512_mask_blend_ps(m, no, yes); }
  // v in the first n lanes, `other` in the rest.
  static F first_or(F v, F other, int64_t n) { return _mm512_mask_blend_ps(first(n), other, v); }
  // Adds sixteen lanes: i and i + 8, then i and i + 4, i + 2, i + 1.
  static float sum_of_16(const F (&v)[1]) {
    return halve(_mm256_add_ps(_mm512_castps512_ps256(v[0]), _mm512_extractf32x8_ps(v[0], 1)));
  }
  static float max_of_16(const F (&v)[1]) { return _mm512_reduce_max_ps(v[0]); }
  // v * 2^n for an integral n with both v and the result normal.
  static F scale_by_power(F v, F n) {
    return _mm512_castsi512_ps(
        _mm512_add_epi32(_mm512_castps_si512(v), _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23)));
  }

  static I zero_int() { return _mm512_setzero_si512(); }
  static I set_int(int32_t v) { return _mm512_set1_epi32(v); }
  static I load_int(const int32_t* p) { return _mm512_loadu_si512(p); }
  static I load_int_n(const int32_t* p, int64_t n) { return _mm512_maskz_loadu_epi32(first(n), p); }
  static void store_int(int32_t* p, I v) { _mm512_storeu_si512(p, v); }
  static I add_int(I a, I b) { return _mm512_add_epi32(a, b); }
  static F to_float(I a) { return _mm512_cvtepi32_ps(a); }
  static I to_int(F a) { return _mm512_cvtps_epi32(a); }

  static F from_bfloat16(const uint16_t* p) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  static F from_float16(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static F from_bfloat16_n(const uint16_t* p, int64_t n) {
    const __m256i bits = _mm256_maskz_loadu_epi16(first(n), p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  static F from_float16_n(const uint16_t* p, int64_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p));
  }
  static F from_uint8_n(const uint8_t* p, int64_t n) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first(n), p)));
  }
  // Rounds to nearest even; a NaN stays one.
  static void to_bfloat16_n(uint16_t* p, F v, int64_t n) {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    const __m512i rounded = _mm512_mask_blend_epi32(nan, up, quiet);
    _mm256_mask_storeu_epi16(p, first(n), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
  }
  static void to_float16_n(uint16_t* p, F v, int64_t n) {
    const __m256i bits = _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_mask_storeu_epi16(p, first(n), bits);
  }
  // Lanes are in 0 … 255.
  static void to_uint8_n(uint8_t* p, I v, int64_t n) {
    _mm_mask_storeu_epi8(p, first(n), _mm512_cvtepi32_epi8(v));
  }

 private:
  static float halve(__m256 v) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
};

}  // namespace
}  // namespace pare

#endif  // PARE_KERNELS_SIMD_VEC_AVX512_H_
