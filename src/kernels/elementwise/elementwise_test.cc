#include "kernels/elementwise/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/cpu_features.h"
#include "base/rng.h"
#include "base/rounding.h"

namespace pare {
namespace {

std::vector<const char*> names() {
  return {"elementwise_f32_avx512", "elementwise_f32_avx2", "elementwise_f32_reference"};
}

// Runs `f` with each variant that this processor has.
template <typename F>
void for_each_kernel(F&& f) {
  for (const char* name : names()) {
    KernelRequest request{.cpu = detect_cpu().features, .forced = name};
    auto choice = choose_elementwise({}, request);
    if (!choice.ok()) {
      std::printf("skipped %s: %s\n", name, choice.status().message().c_str());
      continue;
    }
    SCOPED_TRACE(name);
    f(*choice->kernel);
  }
}

int64_t ulp_distance(float a, float b) {
  if (std::isnan(a) && std::isnan(b)) return 0;
  const auto ordered = [](float f) {
    int32_t i;
    std::memcpy(&i, &f, 4);
    return static_cast<int64_t>(i < 0 ? std::numeric_limits<int32_t>::min() - i : i);
  };
  return std::abs(ordered(a) - ordered(b));
}

std::vector<float> run_unary(const ElementwiseKernel& kernel, LoopOp op,
                             const std::vector<float>& x, float alpha = 0, float beta = 0) {
  ElementwiseProblem p;
  p.shape = {static_cast<int64_t>(x.size())};
  p.operands = {{.strides = {1}}};
  p.program = {{.op = op, .alpha = alpha, .beta = beta}};
  p.dst.strides = {1};
  std::vector<float> y(x.size());
  ThreadPool pool(2);
  const void* src = x.data();
  ElementwisePlan(p, kernel).run(&src, y.data(), pool);
  return y;
}

TEST(Elementwise, UnaryMatchesTheFormulaInDouble) {
  struct Case {
    LoopOp op;
    double (*f)(double);
    int64_t ulp;
    double floor;  // below this magnitude the error counts as if the result had it
  };
  const Case cases[] = {
      {LoopOp::kExp, [](double x) { return std::exp(x); }, 4, 0},
      {LoopOp::kErf, [](double x) { return std::erf(x); }, 8, 0},
      {LoopOp::kTanh, [](double x) { return std::tanh(x); }, 8, 0},
      {LoopOp::kSigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, 6, 0},
      {LoopOp::kGelu, [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }, 16, 1},
      {LoopOp::kSilu, [](double x) { return x / (1 + std::exp(-x)); }, 6, 0},
      {LoopOp::kSqrt, [](double x) { return std::sqrt(x); }, 1, 0},
      {LoopOp::kRelu, [](double x) { return x > 0 ? x : 0; }, 0, 0},
      {LoopOp::kAbs, [](double x) { return std::fabs(x); }, 0, 0},
      {LoopOp::kHardSwish, [](double x) { return x * std::min(1.0, std::max(0.0, x / 6 + .5)); }, 4,
       1},
  };
  Rng rng(7, RngPurpose::kTest);
  std::vector<float> x;
  for (int i = 0; i < 5003; ++i) x.push_back(rng.uniform(-12, 12));
  for (float v : {0.0F, -0.0F, 1e-8F, -1e-8F, 80.0F, -80.0F}) x.push_back(v);
  for_each_kernel([&](const ElementwiseKernel& kernel) {
    for (const Case& c : cases) {
      const auto y = run_unary(kernel, c.op, x);
      for (size_t i = 0; i < x.size(); ++i) {
        if (c.op == LoopOp::kSqrt && x[i] < 0) continue;
        const auto want = static_cast<float>(c.f(x[i]));
        if (c.floor > 0 && std::fabs(want) < c.floor) {
          ASSERT_NEAR(y[i], want, static_cast<double>(c.ulp) * 6e-8 * c.floor)
              << "op " << static_cast<int>(c.op) << " x " << x[i];
        } else {
          ASSERT_LE(ulp_distance(y[i], want), c.ulp) << "op " << static_cast<int>(c.op) << " x "
                                                     << x[i] << " got " << y[i] << " want " << want;
        }
      }
    }
  });
}

TEST(Elementwise, NaNAndInfinityPassThrough) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for_each_kernel([&](const ElementwiseKernel& kernel) {
    for (LoopOp op : {LoopOp::kExp, LoopOp::kErf, LoopOp::kTanh, LoopOp::kGelu, LoopOp::kRelu}) {
      EXPECT_TRUE(std::isnan(run_unary(kernel, op, {nan})[0])) << static_cast<int>(op);
    }
    EXPECT_EQ(run_unary(kernel, LoopOp::kExp, {inf})[0], inf);
    EXPECT_EQ(run_unary(kernel, LoopOp::kExp, {-inf})[0], 0.0F);
    EXPECT_EQ(run_unary(kernel, LoopOp::kErf, {-inf})[0], -1.0F);
  });
}

// A chain with broadcast, transposed and integer operands, stored quantised, against plain loops.
TEST(Elementwise, ProgramWithStridesAndTypes) {
  const int64_t n = 3;
  const int64_t c = 37;
  const int64_t hw = 45;
  Rng rng(3, RngPurpose::kTest);
  std::vector<uint8_t> x(static_cast<size_t>(n * c * hw));
  std::vector<float> scale(static_cast<size_t>(c));
  std::vector<uint16_t> half(x.size());
  for (auto& v : x) v = static_cast<uint8_t>(rng.below(256));
  for (auto& v : scale) v = rng.uniform(-1, 1);
  for (auto& v : half) v = float_to_half_bits(rng.uniform(-2, 2));
  ElementwiseProblem p;
  p.shape = {n, hw, c};  // channels-last result of a channels-first source
  p.operands = {{.type = DType::kUInt8, .zero_point = 3, .strides = {c * hw, 1, hw}},
                {.type = DType::kFloat32, .strides = {0, 0, 1}},
                {.type = DType::kFloat16, .strides = {c * hw, c, 1}}};
  p.program = {{.op = LoopOp::kMul, .operand = 1},
               {.op = LoopOp::kSub, .operand = 2, .reversed = true},
               {.op = LoopOp::kRelu}};
  p.dst = {.type = DType::kInt8, .zero_point = -5, .strides = {hw * c, c, 1}};
  p.dst_scale = 0.37F;
  p.dst_lo = -128;
  p.dst_hi = 127;
  std::vector<int8_t> want(x.size());
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < c; ++k) {
      for (int64_t s = 0; s < hw; ++s) {
        const auto at = static_cast<size_t>((i * hw + s) * c + k);
        const float a = static_cast<float>(x[static_cast<size_t>((i * c + k) * hw + s)] - 3) *
                        scale[static_cast<size_t>(k)];
        const float v = std::max(half_bits_to_float(half[at]) - a, 0.0F);
        want[at] = static_cast<int8_t>(quantise(v, 0.37F, -5, -128, 127));
      }
    }
  }
  for_each_kernel([&](const ElementwiseKernel& kernel) {
    for (int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      std::vector<int8_t> got(x.size());
      const void* srcs[] = {x.data(), scale.data(), half.data()};
      ElementwisePlan(p, kernel).run(srcs, got.data(), pool);
      EXPECT_EQ(got, want) << threads << " threads";
    }
  });
}

TEST(Elementwise, StoresSixteenBitFloatsRoundedToEven) {
  Rng rng(5, RngPurpose::kTest);
  std::vector<float> x(1031);
  for (auto& v : x) v = rng.uniform(-70000, 70000);
  x[3] = std::numeric_limits<float>::quiet_NaN();
  for_each_kernel([&](const ElementwiseKernel& kernel) {
    for (DType type : {DType::kFloat16, DType::kBFloat16}) {
      ElementwiseProblem p;
      p.shape = {static_cast<int64_t>(x.size())};
      p.operands = {{.strides = {1}}};
      p.dst = {.type = type, .strides = {1}};
      std::vector<uint16_t> y(x.size());
      ThreadPool pool(1);
      const void* src = x.data();
      ElementwisePlan(p, kernel).run(&src, y.data(), pool);
      for (size_t i = 0; i < x.size(); ++i) {
        if (i == 3) continue;
        EXPECT_EQ(y[i], type == DType::kFloat16 ? float_to_half_bits(x[i])
                                                : float_to_bfloat16_bits(x[i]));
      }
      EXPECT_TRUE(std::isnan(type == DType::kFloat16 ? half_bits_to_float(y[3])
                                                     : bfloat16_bits_to_float(y[3])));
    }
  });
}

TEST(TypedElementwise, BinaryBroadcastsAndCompares) {
  const std::vector<int64_t> a = {1, -7, 5};
  const std::vector<int64_t> b = {2, 0};
  const TypedBinaryProblem p{.op = TypedOp::kDiv,
                             .type = DType::kInt64,
                             .shape = {2, 3},
                             .a_strides = {0, 1},
                             .b_strides = {1, 0}};
  std::vector<int64_t> dst(6);
  run_typed_binary(p, a.data(), b.data(), dst.data());
  EXPECT_EQ(dst, (std::vector<int64_t>{0, -3, 2, 0, 0, 0}));
  TypedBinaryProblem less = p;
  less.op = TypedOp::kLess;
  std::vector<uint8_t> flags(6);
  run_typed_binary(less, a.data(), b.data(), flags.data());
  EXPECT_EQ(flags, (std::vector<uint8_t>{1, 1, 0, 0, 1, 0}));
}

TEST(TypedElementwise, CastCutsAndStaysInRange) {
  const std::vector<float> x = {1.9F, -1.9F, 300.0F, -300.0F, 1e30F, NAN, 0.0F};
  std::vector<int8_t> i8(x.size());
  run_cast(DType::kFloat32, DType::kInt8, 7, x.data(), i8.data());
  EXPECT_EQ(i8, (std::vector<int8_t>{1, -1, 127, -128, 127, 0, 0}));
  std::vector<int64_t> i64(x.size());
  run_cast(DType::kFloat32, DType::kInt64, 7, x.data(), i64.data());
  EXPECT_EQ(i64[4], std::numeric_limits<int64_t>::max());
  std::vector<uint8_t> flags(x.size());
  run_cast(DType::kFloat32, DType::kBool, 7, x.data(), flags.data());
  EXPECT_EQ(flags, (std::vector<uint8_t>{1, 1, 1, 1, 1, 1, 0}));
}

TEST(TypedElementwise, Where) {
  const std::vector<uint8_t> c = {1, 0, 1};
  const std::vector<float> a = {1, 2, 3};
  const float b = -1;
  std::vector<float> dst(3);
  run_where({.element_bytes = 4,
             .shape = {3},
             .condition_strides = {1},
             .a_strides = {1},
             .b_strides = {0}},
            c.data(), a.data(), &b, dst.data());
  EXPECT_EQ(dst, (std::vector<float>{1, -1, 3}));
}

}  // namespace
}  // namespace pare
