// V: four float32 lanes of 64-bit ARM's NEON; the names of vec_avx512.h.
#ifndef PARE_KERNELS_SIMD_VEC_NEON_H_
#define PARE_KERNELS_SIMD_VEC_NEON_H_

#include <arm_neon.h>

#include <cstdint>

namespace pare {
namespace {

struct V {
  using F = float32x4_t;
  using I = int32x4_t;
  using M = uint32x4_t;
  static constexpr int kLanes = 4;

  // All ones in the first n lanes.
  static M first(int64_t n) {
    constexpr int32_t kLane[kLanes] = {0, 1, 2, 3};
    return vcltq_s32(vld1q_s32(kLane), vdupq_n_s32(static_cast<int32_t>(n)));
  }

  static F zero() { return vdupq_n_f32(0.0F); }
  static F set(float v) { return vdupq_n_f32(v); }
  static F load(const float* p) { return vld1q_f32(p); }
  static F load_n(const float* p, int64_t n) {
    float all[kLanes] = {};
    return load(n == kLanes ? p : copy(all, p, n));
  }
  static void store(float* p, F v) { vst1q_f32(p, v); }
  static void store_n(float* p, F v, int64_t n) {
    if (n == kLanes) return store(p, v);
    float all[kLanes];
    store(all, v);
    copy(p, all, n);
  }
  static F broadcast(const void* p) { return vld1q_dup_f32(static_cast<const float*>(p)); }

  static F add(F a, F b) { return vaddq_f32(a, b); }
  static F sub(F a, F b) { return vsubq_f32(a, b); }
  static F mul(F a, F b) { return vmulq_f32(a, b); }
  static F div(F a, F b) { return vdivq_f32(a, b); }
  static F sqrt(F a) { return vsqrtq_f32(a); }
  static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  // Of a NaN and a number the second, as x86 does it: vmaxq_f32 would give NaN.
  static F max(F a, F b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static F min(F a, F b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  static F round(F a) { return vrndnq_f32(a); }
  static F abs(F a) { return vabsq_f32(a); }
  static M less(F a, F b) { return vcltq_f32(a, b); }
  static F select(M m, F yes, F no) { return vbslq_f32(m, yes, no); }
  static F first_or(F v, F other, int64_t n) { return vbslq_f32(first(n), v, other); }
  static float sum_of_16(const F (&v)[4]) {
    const F four = vaddq_f32(vaddq_f32(v[0], v[2]), vaddq_f32(v[1], v[3]));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
  }
  static float max_of_16(const F (&v)[4]) {
    const F four = max(max(v[0], v[2]), max(v[1], v[3]));
    const F two = max(four, vextq_f32(four, four, 2));
    return vgetq_lane_f32(max(two, vextq_f32(two, two, 1)), 0);
  }
  static F scale_by_power(F v, F n) {
    const I power = vshlq_n_s32(vcvtnq_s32_f32(n), 23);
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(v), power));
  }

  static I zero_int() { return vdupq_n_s32(0); }
  static I set_int(int32_t v) { return vdupq_n_s32(v); }
  static I load_int(const int32_t* p) { return vld1q_s32(p); }
  static I load_int_n(const int32_t* p, int64_t n) {
    int32_t all[kLanes] = {};
    return load_int(n == kLanes ? p : copy(all, p, n));
  }
  static void store_int(int32_t* p, I v) { vst1q_s32(p, v); }
  static I add_int(I a, I b) { return vaddq_s32(a, b); }
  static F to_float(I a) { return vcvtq_f32_s32(a); }
  static I to_int(F a) { return vcvtnq_s32_f32(a); }

  static F from_bfloat16(const uint16_t* p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
  }
  static F from_float16(const uint16_t* p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
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
    uint32_t all[kLanes] = {};
    for (int64_t i = 0; i < n; ++i) all[i] = p[i];
    return vcvtq_f32_u32(vld1q_u32(all));
  }
  static void to_bfloat16_n(uint16_t* p, F v, int64_t n) {
    const uint32x4_t bits = vreinterpretq_u32_f32(v);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    store_words(p, vshrn_n_u32(vbslq_u32(vceqq_f32(v, v), up, quiet), 16), n);
  }
  static void to_float16_n(uint16_t* p, F v, int64_t n) {
    store_words(p, vreinterpret_u16_f16(vcvt_f16_f32(v)), n);
  }
  static void to_uint8_n(uint8_t* p, I v, int64_t n) {
    const uint16x4_t words = vqmovun_s32(v);
    const uint8x8_t bytes = vqmovn_u16(vcombine_u16(words, words));
    uint8_t all[8];
    vst1_u8(all, bytes);
    copy(p, all, n);
  }

 private:
  template <typename T>
  static const T* copy(T* to, const T* from, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i];
    return to;
  }
  static void store_words(uint16_t* p, uint16x4_t words, int64_t n) {
    if (n == kLanes) return vst1_u16(p, words);
    uint16_t all[kLanes];
    vst1_u16(all, words);
    copy(p, all, n);
  }
};

}  // namespace
}  // namespace pare

#endif  // PARE_KERNELS_SIMD_VEC_NEON_H_
