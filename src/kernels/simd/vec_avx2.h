// V: eight float32 lanes of AVX2 with FMA and F16C; the names of vec_avx512.h.
#ifndef PARE_KERNELS_SIMD_VEC_AVX2_H_
#define PARE_KERNELS_SIMD_VEC_AVX2_H_

#include <immintrin.h>

#include <cstdint>

namespace pare {
namespace {

struct V {
  using F = __m256;
  using I = __m256i;
  using M = __m256;
  static constexpr int kLanes = 8;

  // All ones in the first n lanes.
  static __m256i first(int64_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
  }

  static F zero() { return _mm256_setzero_ps(); }
  static F set(float v) { return _mm256_set1_ps(v); }
  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static F load_n(const float* p, int64_t n) {
    return n == kLanes ? load(p) : _mm256_maskload_ps(p, first(n));
  }
  static void store(float* p, F v) { _mm256_storeu_ps(p, v); }
  static void store_n(float* p, F v, int64_t n) {
    if (n == kLanes) {
      store(p, v);
    } else {
      _mm256_maskstore_ps(p, first(n), v);
    }
  }
  static F broadcast(const void* p) { return _mm256_broadcast_ss(static_cast<const float*>(p)); }

  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F sqrt(F a) { return _mm256_sqrt_ps(a); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F abs(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a); }
  static M less(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
  static F select(M m, F yes, F no) { return _mm256_blendv_ps(no, yes, m); }
  static F first_or(F v, F other, int64_t n) {
    return _mm256_blendv_ps(other, v, _mm256_castsi256_ps(first(n)));
  }
  static float sum_of_16(const F (&v)[2]) {
    const __m256 eight = _mm256_add_ps(v[0], v[1]);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float max_of_16(const F (&v)[2]) {
    const __m256 eight = _mm256_max_ps(v[0], v[1]);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  static F scale_by_power(F v, F n) {
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(v), _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23)));
  }

  static I zero_int() { return _mm256_setzero_si256(); }
  static I set_int(int32_t v) { return _mm256_set1_epi32(v); }
  static I load_int(const int32_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static I load_int_n(const int32_t* p, int64_t n) {
    return n == kLanes ? load_int(p) : _mm256_maskload_epi32(p, first(n));
  }
  static void store_int(int32_t* p, I v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  static I add_int(I a, I b) { return _mm256_add_epi32(a, b); }
  static F to_float(I a) { return _mm256_cvtepi32_ps(a); }
  static I to_int(F a) { return _mm256_cvtps_epi32(a); }

  static F from_bfloat16(const uint16_t* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  static F from_float16(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static F from_bfloat16_n(const uint16_t* p, int64_t n) {
    uint16_t all[kLanes] = {};
    return from_bfloat16(n == kLanes ? p : copy(all, p, n));
  }
  static F from_float16_n(const uint16_t* p, int64_t n) {
    uint16_t all[kLanes] = {};
    return from_float16(n == kLanes ? p : copy(all, p, n));
  }
  static F from_uint8_n(const uint8_t* p, int64_t n) {
    uint8_t all[kLanes] = {};
    const uint8_t* from = n == kLanes ? p : copy(all, p, n);
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
  }
  static void to_bfloat16_n(uint16_t* p, F v, int64_t n) {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(up, quiet, nan), 16);
    store_words(
        p, _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1)), n);
  }
  static void to_float16_n(uint16_t* p, F v, int64_t n) {
    store_words(p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), n);
  }
  static void to_uint8_n(uint8_t* p, I v, int64_t n) {
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    const __m128i bytes = _mm_packus_epi16(words, words);
    if (n == kLanes) {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(p), bytes);
      return;
    }
    alignas(16) uint8_t all[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(all), bytes);
    for (int64_t i = 0; i < n; ++i) p[i] = all[i];
  }

 private:
  template <typename T>
  static const T* copy(T* to, const T* from, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i];
    return to;
  }
  static void store_words(uint16_t* p, __m128i words, int64_t n) {
    if (n == kLanes) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), words);
      return;
    }
    alignas(16) uint16_t all[kLanes];
    _mm_store_si128(reinterpret_cast<__m128i*>(all), words);
    for (int64_t i = 0; i < n; ++i) p[i] = all[i];
  }
};

}  // namespace
}  // namespace pare

#endif  // PARE_KERNELS_SIMD_VEC_AVX2_H_
