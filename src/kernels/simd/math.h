// exp, erf, tanh and the activations of epilogue.h, written once over a vector type V (vec_*.h).
//
// Every operation rounds in the order written here and nothing is contracted (the kernels are
// compiled with -ffp-contract=off), so the bits are the same on every instruction set. Errors
// against the exact functions, tested in simd_test.cc: exp 2 units in the last place (ulp), erf and
// tanh 6 ulp, GELU 4 ulp of its argument. A NaN stays a NaN.
//
// The coefficients are our own fits: least squares reweighted towards the largest error (Lawson's
// algorithm) of x P(x^2) / Q(x^2) to erf on [0, 3.93] (error 2e-8) and to tanh on [0, 9.02]
// (1.3e-9), and of 1 + r + r^2 p(r) to exp on [-ln 2 / 2, ln 2 / 2] (3e-9, relative).
#ifndef PARE_KERNELS_SIMD_MATH_H_
#define PARE_KERNELS_SIMD_MATH_H_

#include <cstdint>

#include "kernels/epilogue.h"

namespace pare {
namespace {

template <typename V>
inline typename V::F clamp(typename V::F v, float lo, float hi) {
  return V::min(V::set(hi), V::max(V::set(lo), v));
}

// c[0] + c[1] x + ... + c[N-1] x^(N-1) by Horner's rule.
template <typename V, int N>
inline typename V::F polynomial(const float (&c)[N], typename V::F x) {
  typename V::F sum = V::set(c[N - 1]);
  for (int i = N - 2; i >= 0; --i) sum = V::fma(sum, x, V::set(c[i]));
  return sum;
}

// e^v for v in [-87.3, 88]; beyond, the value at the border (1.2e-38, 1.7e38).
// e^v = 2^n e^r with n = round(v / ln 2), r = v - n ln 2 in two steps (Cody and Waite).
template <typename V>
inline typename V::F exp_of(typename V::F v) {
  constexpr float kP[] = {0.499999934F, 0.166665201F, 0.0416683942F, 0.00836878049F, 0.0013814467F};
  const typename V::F x = clamp<V>(v, -87.3F, 88.0F);
  const typename V::F n = V::round(V::mul(x, V::set(1.44269504F)));
  typename V::F r = V::fma(n, V::set(-0.693359375F), x);  // 355/512: n times it is exact
  r = V::fma(n, V::set(2.12194440e-4F), r);               // 355/512 - ln 2
  const typename V::F tail = V::mul(V::mul(r, r), polynomial<V>(kP, r));
  return V::scale_by_power(V::add(V::set(1.0F), V::add(r, tail)), n);
}

template <typename V>
inline typename V::F erf_of(typename V::F v) {
  constexpr float kP[] = {1.12837915F,    0.190783725F,    0.052790272F,
                          0.00377960483F, 0.000284808532F, 2.04197187e-06F};
  constexpr float kQ[] = {1.0F,          0.502410393F,   0.114257479F,
                          0.0149974283F, 0.00116521171F, 3.80040826e-05F};
  const typename V::F x = clamp<V>(v, -3.93F, 3.93F);
  const typename V::F x2 = V::mul(x, x);
  const typename V::F ratio = V::div(V::mul(x, polynomial<V>(kP, x2)), polynomial<V>(kQ, x2));
  return clamp<V>(ratio, -1.0F, 1.0F);
}

template <typename V>
inline typename V::F tanh_of(typename V::F v) {
  constexpr float kP[] = {0.999999999F,    0.136799141F,    0.00386832651F,
                          2.80074345e-05F, 3.05849659e-08F, -1.22034261e-11F};
  constexpr float kQ[] = {1.0F, 0.470132461F, 0.0272458342F, 0.000393862895F, 1.28736492e-06F};
  const typename V::F x = clamp<V>(v, -9.02F, 9.02F);
  const typename V::F x2 = V::mul(x, x);
  const typename V::F ratio = V::div(V::mul(x, polynomial<V>(kP, x2)), polynomial<V>(kQ, x2));
  return clamp<V>(ratio, -1.0F, 1.0F);
}

template <typename V>
inline typename V::F sigmoid_of(typename V::F v) {
  const typename V::F one = V::set(1.0F);
  return V::div(one, V::add(one, exp_of<V>(V::sub(V::zero(), v))));
}

template <typename V>
inline typename V::F gelu_of(typename V::F v) {
  const typename V::F erf = erf_of<V>(V::mul(v, V::set(0.707106781F)));
  return V::mul(V::mul(V::set(0.5F), v), V::add(V::set(1.0F), erf));
}

// v (1 + tanh u) / 2 = v / (1 + e^(-2u)), u = v (sqrt(2/pi) + sqrt(2/pi) 0.044715 v^2).
template <typename V>
inline typename V::F gelu_tanh_of(typename V::F v) {
  const typename V::F slope =
      V::fma(V::mul(v, v), V::set(2.0F * 0.0356774081F), V::set(2.0F * 0.797884561F));
  const typename V::F minus_2u = V::sub(V::zero(), V::mul(v, slope));
  return V::div(v, V::add(V::set(1.0F), exp_of<V>(minus_2u)));
}

// Inside the loops that call it, whatever the compiler thinks of its size.
template <typename V>
[[gnu::always_inline]] inline typename V::F activate_of(Activation activation, typename V::F v,
                                                        float alpha, float beta) {
  using F = typename V::F;
  switch (activation) {
    case Activation::kNone:
      return v;
    case Activation::kRelu:
      return V::max(V::zero(), v);
    case Activation::kClip:
      return V::min(V::set(beta), V::max(V::set(alpha), v));
    case Activation::kGelu:
      return gelu_of<V>(v);
    case Activation::kGeluTanh:
      return gelu_tanh_of<V>(v);
    case Activation::kSigmoid:
      return sigmoid_of<V>(v);
    case Activation::kTanh:
      return tanh_of<V>(v);
    case Activation::kSilu:
      return V::mul(v, sigmoid_of<V>(v));
    case Activation::kHardSigmoid: {
      const F line = V::add(V::mul(V::set(alpha), v), V::set(beta));
      return V::max(V::zero(), V::min(V::set(1.0F), line));
    }
    case Activation::kHardSwish: {
      const F line = V::add(V::div(v, V::set(6.0F)), V::set(0.5F));
      return V::mul(v, V::max(V::zero(), V::min(V::set(1.0F), line)));
    }
    case Activation::kLeakyRelu:
      return V::select(V::less(v, V::zero()), V::mul(V::set(alpha), v), v);
  }
  return v;
}

}  // namespace
}  // namespace pare

#endif  // PARE_KERNELS_SIMD_MATH_H_
