// The functions of math.h against the C library's in double precision, over the whole range.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/simd/math.h"
#include "kernels/simd/vec_scalar.h"
#include "testing/compare.h"

namespace pare {
namespace {

using testing_compare::ulp_distance;

// The largest distance in units of the last place for x from lo to hi.
template <typename F, typename G>
int64_t worst_ulps(float lo, float hi, F&& ours, G&& exact) {
  constexpr int kSteps = 200001;
  int64_t worst = 0;
  for (int i = 0; i < kSteps; ++i) {
    const float x = lo + (hi - lo) * static_cast<float>(i) / (kSteps - 1);
    const auto want = static_cast<float>(exact(static_cast<double>(x)));
    worst = std::max(worst, ulp_distance(ours(x), want));
  }
  return worst;
}

TEST(VectorMath, StaysWithinItsErrors) {
  EXPECT_LE(worst_ulps(-87.0F, 87.9F, exp_of<VScalar>, [](double x) { return std::exp(x); }), 2);
  EXPECT_LE(worst_ulps(-6.0F, 6.0F, erf_of<VScalar>, [](double x) { return std::erf(x); }), 6);
  EXPECT_LE(worst_ulps(-12.0F, 12.0F, tanh_of<VScalar>, [](double x) { return std::tanh(x); }), 6);
  EXPECT_LE(worst_ulps(-80.0F, 80.0F, sigmoid_of<VScalar>,
                       [](double x) { return 1.0 / (1.0 + std::exp(-x)); }),
            4);
}

TEST(VectorMath, GeluErrsByUnitsOfItsArgument) {
  for (float x = -12.0F; x < 12.0F; x += 0.0001F) {
    const double d = x;
    const double bound = 4 * 0x1p-23 * std::abs(d);
    const double erf_form = 0.5 * d * (1.0 + std::erf(d * 0.70710678118654752440));
    EXPECT_NEAR(gelu_of<VScalar>(x), erf_form, bound);
    const double u = 0.79788456080286535588 * (d + 0.044715 * d * d * d);
    EXPECT_NEAR(gelu_tanh_of<VScalar>(x), 0.5 * d * (1.0 + std::tanh(u)), bound);
    if (HasFailure()) break;
  }
}

TEST(VectorMath, KeepsNanAndTheBorders) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (int a = 0; a <= static_cast<int>(Activation::kLeakyRelu); ++a) {
    if (static_cast<Activation>(a) == Activation::kHardSigmoid) continue;  // clamps it away
    EXPECT_TRUE(std::isnan(activate_of<VScalar>(static_cast<Activation>(a), nan, 0.1F, 2.0F))) << a;
  }
  EXPECT_EQ(erf_of<VScalar>(infinity), 1.0F);
  EXPECT_EQ(tanh_of<VScalar>(-infinity), -1.0F);
  EXPECT_EQ(tanh_of<VScalar>(0.0F), 0.0F);
  EXPECT_EQ(sigmoid_of<VScalar>(infinity), 1.0F);
  EXPECT_LT(sigmoid_of<VScalar>(-infinity), 1e-37F);
  EXPECT_EQ(exp_of<VScalar>(0.0F), 1.0F);
  EXPECT_EQ(gelu_of<VScalar>(100.0F), 100.0F);
}

}  // namespace
}  // namespace pare
