// The loops of loops.h written as plain branch-free C, for the compiler to vectorise: included by one
// file an instruction set, inside an anonymous namespace. Built with -ffp-contract=off, so that all
// instruction sets give the same bits; against the reference (the C library) the transcendental ones
// differ by a few units in the last place, as elementwise_test.cc states.
//
// exp   2^n * e^r with n = rint(x / ln 2), ln 2 in two parts (Cody and Waite 1980), Taylor to r^7:
//       the rest is below r^8 / 8! = 6e-9 for |r| <= ln 2 / 2
// erf, tanh   x * P(x^2) / Q(x^2), fitted by iteratively reweighted least squares to a relative error
//       of 2e-8 on |x| <= 3.92 and 7e-9 on |x| <= 9, where the results round to 1

inline float bits_to_float(int32_t bits) {
  float f;
  __builtin_memcpy(&f, &bits, 4);
  return f;
}

inline int32_t float_to_bits(float f) {
  int32_t bits;
  __builtin_memcpy(&bits, &f, 4);
  return bits;
}

inline float exp_value(float x) {
  // Beyond these the result is infinite, or zero even as a denormal; the comparisons keep a NaN.
  const float high = x > 89.0F ? 89.0F : x;
  const float v = high < -104.0F ? -104.0F : high;
  const float n = __builtin_rintf(v * 1.44269504F);
  const float r = (v - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.0F / 5040.0F;
  p = p * r + 1.0F / 720.0F;
  p = p * r + 1.0F / 120.0F;
  p = p * r + 1.0F / 24.0F;
  p = p * r + 1.0F / 6.0F;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  // Two factors, since 2^n itself need not be representable at both ends.
  const int32_t whole = static_cast<int32_t>(n == n ? n : 0.0F);
  const int32_t half = whole >> 1;
  return p * bits_to_float((half + 127) << 23) * bits_to_float((whole - half + 127) << 23);
}

inline float within(float v, float limit) {
  const float high = v > limit ? limit : v;
  return high < -limit ? -limit : high;
}

inline float erf_value(float x) {
  const float v = within(x, 3.92F);
  const float t = v * v;
  float p = 2.0501008748397e-06F;
  p = p * t + 0.0002848828735295683F;
  p = p * t + 0.0037655921187251806F;
  p = p * t + 0.05274864658713341F;
  p = p * t + 0.19040580093860626F;
  p = p * t + 1.1283791065216064F;
  float q = 3.8091864553280175e-05F;
  q = q * t + 0.001162530854344368F;
  q = q * t + 0.014969165436923504F;
  q = q * t + 0.1141088455915451F;
  q = q * t + 0.5020754933357239F;
  q = q * t + 1.0F;
  return within(v * p / q, 1.0F);
}

inline float tanh_value(float x) {
  const float v = within(x, 9.0F);
  const float t = v * v;
  float p = -8.488791402661358e-14F;
  p = p * t + 5.2779811771097584e-11F;
  p = p * t - 2.0225296992748554e-08F;
  p = p * t + 1.1154325875395443e-05F;
  p = p * t + 0.0031039579771459103F;
  p = p * t + 0.13084012269973755F;
  p = p * t + 1.0F;
  float q = 0.00025461477343924344F;
  q = q * t + 0.024495184421539307F;
  q = q * t + 0.4641733765602112F;
  q = q * t + 1.0F;
  return within(v * p / q, 1.0F);
}

inline float sigmoid_value(float x) { return 1.0F / (1.0F + exp_value(-x)); }
inline float gelu_value(float x) { return 0.5F * x * (1.0F + erf_value(x * 0.70710678F)); }
inline float gelu_tanh_value(float x) {
  return 0.5F * x * (1.0F + tanh_value(0.79788456F * (x + 0.044715F * x * x * x)));
}
inline float clip_value(float x, float low, float high) {
  const float v = x < low ? low : x;
  return v > high ? high : v;
}
inline float hard_sigmoid_value(float x, float alpha, float beta) {
  return clip_value(alpha * x + beta, 0.0F, 1.0F);
}

#define PARE_UNARY_LOOP(name, expression)                                                \
  void name(const float* a, float* dst, int64_t n, [[maybe_unused]] float alpha,         \
            [[maybe_unused]] float beta) {                                               \
    for (int64_t i = 0; i < n; ++i) {                                                    \
      const float x = a[i];                                                              \
      dst[i] = (expression);                                                             \
    }                                                                                    \
  }
PARE_UNARY_LOOP(abs_loop, __builtin_fabsf(x))
PARE_UNARY_LOOP(neg_loop, -x)
PARE_UNARY_LOOP(exp_loop, exp_value(x))
PARE_UNARY_LOOP(log_loop, __builtin_logf(x))
PARE_UNARY_LOOP(sqrt_loop, __builtin_sqrtf(x))
PARE_UNARY_LOOP(reciprocal_loop, 1.0F / x)
PARE_UNARY_LOOP(erf_loop, erf_value(x))
PARE_UNARY_LOOP(tanh_loop, tanh_value(x))
PARE_UNARY_LOOP(sigmoid_loop, sigmoid_value(x))
PARE_UNARY_LOOP(relu_loop, x < 0.0F ? 0.0F : x)
PARE_UNARY_LOOP(leaky_relu_loop, x < 0.0F ? alpha * x : x)
PARE_UNARY_LOOP(clip_loop, clip_value(x, alpha, beta))
PARE_UNARY_LOOP(gelu_loop, gelu_value(x))
PARE_UNARY_LOOP(gelu_tanh_loop, gelu_tanh_value(x))
PARE_UNARY_LOOP(silu_loop, x* sigmoid_value(x))
PARE_UNARY_LOOP(hard_sigmoid_loop, hard_sigmoid_value(x, alpha, beta))
PARE_UNARY_LOOP(hard_swish_loop, x* hard_sigmoid_value(x, 1.0F / 6.0F, 0.5F))
PARE_UNARY_LOOP(floor_loop, __builtin_floorf(x))
PARE_UNARY_LOOP(ceil_loop, __builtin_ceilf(x))
PARE_UNARY_LOOP(round_loop, __builtin_rintf(x))
PARE_UNARY_LOOP(sign_loop, x > 0.0F ? 1.0F : (x < 0.0F ? -1.0F : x))
PARE_UNARY_LOOP(softplus_loop, (x > 0.0F ? x : 0.0F) + __builtin_log1pf(exp_value(-__builtin_fabsf(x))))
PARE_UNARY_LOOP(elu_loop, x < 0.0F ? alpha * (exp_value(x) - 1.0F) : x)
PARE_UNARY_LOOP(scale_loop, x* alpha)
#undef PARE_UNARY_LOOP

#define PARE_BINARY_LOOP(name, expression)                                 \
  void name(const float* a, const float* b, float* dst, int64_t n) {       \
    for (int64_t i = 0; i < n; ++i) {                                      \
      const float x = a[i];                                                \
      const float y = b[i];                                                \
      dst[i] = (expression);                                               \
    }                                                                      \
  }
PARE_BINARY_LOOP(add_loop, x + y)
PARE_BINARY_LOOP(sub_loop, x - y)
PARE_BINARY_LOOP(mul_loop, x* y)
PARE_BINARY_LOOP(div_loop, x / y)
PARE_BINARY_LOOP(min_loop, y < x ? y : x)
PARE_BINARY_LOOP(max_loop, y > x ? y : x)
PARE_BINARY_LOOP(pow_loop, y == 2.0F ? x * x : __builtin_powf(x, y))
PARE_BINARY_LOOP(prelu_loop, x < 0.0F ? y * x : x)
#undef PARE_BINARY_LOOP

template <typename T>
void load_integers(const T* src, float* dst, int64_t n, int32_t zero_point) {
  for (int64_t i = 0; i < n; ++i) dst[i] = static_cast<float>(src[i] - zero_point);
}

template <typename T>
void store_integers(const float* src, T* dst, int64_t n, float scale, int32_t zero_point,
                    int32_t lo, int32_t hi) {
  const auto low = static_cast<float>(lo - zero_point);
  const auto high = static_cast<float>(hi - zero_point);
  for (int64_t i = 0; i < n; ++i) {
    float r = __builtin_nearbyintf(src[i] / scale);
    r = r > low ? r : low;
    r = r < high ? r : high;
    dst[i] = static_cast<T>(static_cast<int32_t>(r) + zero_point);
  }
}

void load_bf16_loop(const uint16_t* src, float* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i] = bits_to_float(static_cast<int32_t>(src[i]) << 16);
}

void store_bf16_loop(const float* src, uint16_t* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const auto u = static_cast<uint32_t>(float_to_bits(src[i]));
    const uint32_t rounded = (u + 0x7fffU + ((u >> 16) & 1U)) >> 16;
    const uint32_t quiet = (u >> 16) | 0x0040U;
    dst[i] = static_cast<uint16_t>((u & 0x7fffffffU) > 0x7f800000U ? quiet : rounded);
  }
}

constexpr ElementwiseLoops make_loops(void (*load_f16)(const uint16_t*, float*, int64_t),
                                      void (*store_f16)(const float*, uint16_t*, int64_t)) {
  return {{abs_loop, neg_loop, exp_loop, log_loop, sqrt_loop, reciprocal_loop, erf_loop, tanh_loop,
           sigmoid_loop, relu_loop, leaky_relu_loop, clip_loop, gelu_loop, gelu_tanh_loop,
           silu_loop, hard_sigmoid_loop, hard_swish_loop, floor_loop, ceil_loop, round_loop,
           sign_loop, softplus_loop, elu_loop, scale_loop},
          {add_loop, sub_loop, mul_loop, div_loop, min_loop, max_loop, pow_loop, prelu_loop},
          load_integers<uint8_t>,
          load_integers<int8_t>,
          load_integers<int32_t>,
          load_f16,
          load_bf16_loop,
          store_integers<uint8_t>,
          store_integers<int8_t>,
          store_f16,
          store_bf16_loop};
}
