// Every variant of conv.h against the reference, on the cases of cases.inc.
//
// Integer convolutions must equal the reference. Float ones stand within the tolerance of a sum of
// kernel_h * kernel_w * channels products and equal each other bit for bit, whatever the variant,
// the number of threads and the batch.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <optional>

#include "base/cpu_features.h"
#include "kernels/conv/conv.h"
#include "testing/compare.h"
#include "testing/operands.h"

namespace pare {
namespace {

using namespace testing_compare;
using namespace testing_operands;

struct Types {
  DType src, weights, dst;
};
constexpr Types kTypes[] = {
    {DType::kFloat32, DType::kFloat32, DType::kFloat32},
    {DType::kUInt8, DType::kFloat32, DType::kFloat32},
    {DType::kFloat32, DType::kFloat32, DType::kUInt8},
    {DType::kFloat32, DType::kBFloat16, DType::kFloat32},
    {DType::kBFloat16, DType::kBFloat16, DType::kBFloat16},
    {DType::kFloat16, DType::kFloat16, DType::kFloat16},
    {DType::kUInt8, DType::kInt8, DType::kUInt8},
    {DType::kUInt8, DType::kInt8, DType::kFloat32},
};
constexpr Activation kActivations[] = {Activation::kRelu, Activation::kNone, Activation::kSilu,
                                       Activation::kClip, Activation::kHardSwish};

struct Case {
  ConvProblem p;
  GuardedBuffer src{0}, weights{0}, bias{0}, int_bias{0}, multiplier{0}, residual{0};
  Epilogue epilogue;

  bool is_integer() const { return p.weights_type == DType::kInt8; }
  int64_t terms() const { return p.in_c / p.groups * p.kernel_h * p.kernel_w; }
  int64_t dst_count() const { return p.batch * p.out_h * p.out_w * p.out_c; }
};

ConvProblem with_outputs(ConvProblem p) {
  p.out_h = conv_out_size(p.in_h, p.pad_top + p.pad_bottom, p.kernel_h, p.stride_h, p.dilation_h);
  p.out_w = conv_out_size(p.in_w, p.pad_left + p.pad_right, p.kernel_w, p.stride_w, p.dilation_w);
  return p;
}

Case make_case(const ConvProblem& sizes, const Types& types, int variation, double density = 1.0) {
  Case c;
  Rng rng(43, RngPurpose::kTest, static_cast<uint64_t>(variation));
  c.p = with_outputs(sizes);
  c.p.src_type = types.src;
  c.p.weights_type = types.weights;
  c.p.dst_type = types.dst;
  // Half of them 0, as behind a ReLU.
  c.p.pad_value = static_cast<uint8_t>(variation % 2 == 0 ? 0 : variation * 37 % 256);
  c.p.activation = kActivations[variation % 5];
  c.p.residual = variation % 3 == 2;
  c.src = random_operand(rng, types.src, c.p.batch * c.p.in_h * c.p.in_w * c.p.in_c);
  c.weights = random_operand(rng, types.weights, c.p.out_c * c.terms());
  c.p.weight_density = density;
  for (int64_t i = 0; density < 1.0 && i < c.p.out_c * c.terms(); ++i) {
    if (rng.bernoulli(static_cast<float>(density))) continue;
    const int64_t bytes = dtype_bytes(types.weights);
    std::memset(c.weights.data() + i * bytes, 0, static_cast<size_t>(bytes));
  }
  c.bias = GuardedBuffer::of(random_floats(rng, c.p.out_c, -1.0F, 1.0F));
  c.int_bias = GuardedBuffer::of(random_ints(rng, c.p.out_c, 1 << 16));
  c.residual = GuardedBuffer::of(random_floats(rng, c.p.residual ? c.dst_count() : 0, -1.0F, 1.0F));
  const float size = 1.0F / (11000.0F * std::sqrt(static_cast<float>(c.terms()) + 1.0F));
  c.multiplier = GuardedBuffer::of(random_floats(rng, c.p.out_c, 0.5F * size, 2.0F * size));
  Epilogue& e = c.epilogue;
  if (c.is_integer()) {
    e.int_bias = c.int_bias.as<int32_t>();
    e.multiplier = c.multiplier.as<float>();
  } else {
    e.bias = c.bias.as<float>();
  }
  if (c.p.residual) {
    e.residual = c.residual.as<float>();
    e.residual_stride = c.p.out_c;
  }
  e.activation = c.p.activation;
  e.alpha = -0.5F;
  e.beta = 0.75F;
  if (types.dst == DType::kUInt8) {
    e.out_scale = 0.02F;
    e.out_zero_point = 10;
    e.out_lo = variation % 2 == 0 ? 0 : 10;
  }
  return c;
}

std::string describe(const ConvProblem& p, const char* kernel) {
  const auto s = [](int64_t v) { return std::to_string(v); };
  return std::string(kernel) + ": batch " + s(p.batch) + ", " + s(p.in_h) + "x" + s(p.in_w) + "x" +
         s(p.in_c) + " to " + s(p.out_c) + ", kernel " + s(p.kernel_h) + "x" + s(p.kernel_w) +
         ", stride " + s(p.stride_h) + "x" + s(p.stride_w) + ", dilation " + s(p.dilation_h) + "x" +
         s(p.dilation_w) + ", pads " + s(p.pad_top) + "," + s(p.pad_left) + "," + s(p.pad_bottom) +
         "," + s(p.pad_right) + ", groups " + s(p.groups) + ", " + dtype_name(p.src_type) + " by " +
         dtype_name(p.weights_type) + " to " + dtype_name(p.dst_type);
}

std::vector<float> run_kernel(const ConvKernel& kernel, Case& c, int threads) {
  GuardedBuffer packed((conv_packed_bytes(kernel, c.p, c.weights.data()) + 63) / 64 * 64);
  conv_pack(kernel, c.p, c.weights.data(), packed.data());
  GuardedBuffer scratch((conv_scratch_bytes(kernel, c.p, threads) + 63) / 64 * 64);
  GuardedBuffer dst(c.dst_count() * dtype_bytes(c.p.dst_type));
  ConvArgs args;
  args.src = c.src.data();
  args.packed = packed.data();
  args.dst = dst.data();
  args.epilogue = c.epilogue;
  args.scratch = scratch.bytes();
  ThreadPool pool(threads);
  conv_run(kernel, c.p, args, pool);
  EXPECT_TRUE(dst.intact() && scratch.intact() && packed.intact());
  return as_floats(c.p.dst_type, dst);
}

Tolerance tolerance_of(const Case& c) {
  if (c.p.dst_type == DType::kUInt8) return {1.0, 0.0};  // a sum beside a rounding border
  const double src = c.p.src_type == DType::kUInt8 ? 255.0 : 1.0;
  Tolerance t = product_tolerance(c.terms(), src, 1.0, c.p.dst_type, 2.0);
  // SiLU and hard swish: slope 1.5 at most; a few roundings of a value as large as the sum.
  t.absolute *= 1.5;
  return t;
}

void check_case(Case& c, VariantTally& tally) {
  const CpuFeatures cpu = detect_cpu().features;
  const std::vector<float> want = run_kernel(*conv_kernels().back(), c, 2);
  std::optional<std::vector<float>> first_float;
  for (const ConvKernel* kernel : conv_kernels().first(conv_kernels().size() - 1)) {
    if (kernel->refuse(c.p) != nullptr) continue;
    const auto choice = choose_conv(c.p, {cpu, kernel->name, false});
    if (!choice.ok()) {
      tally.skipped(kernel->name, choice.status().message());
      continue;
    }
    SCOPED_TRACE(describe(c.p, kernel->name));
    const std::vector<float> got = run_kernel(*kernel, c, 1);
    tally.ran(kernel->name);
    EXPECT_TRUE(all_equal<float>(run_kernel(*kernel, c, 3), got)) << "threads change the result";
    if (c.is_integer()) {
      EXPECT_TRUE(all_equal<float>(got, want));
      continue;
    }
    EXPECT_TRUE(all_close(got, want, tolerance_of(c)));
    if (std::string(kernel->name).find("bf16dot") != std::string::npos) continue;
    if (!first_float) first_float = got;
    EXPECT_TRUE(all_equal<float>(got, *first_float)) << "variants differ";
  }
}

enum class For { kAnyWeights, kPrunedWeights };

// Kernels that take pruned weights alone.
bool is_sparse(const ConvKernel& kernel) {
  return std::string(kernel.name).find("sparse") != std::string::npos;
}

void expect_complete(const VariantTally& tally, For weights) {
  for (const ConvKernel* kernel : conv_kernels().first(conv_kernels().size() - 1)) {
    if (is_sparse(*kernel) != (weights == For::kPrunedWeights)) continue;
    EXPECT_TRUE(tally.has_run(kernel->name) || tally.was_skipped(kernel->name))
        << kernel->name << " took no case";
  }
}

ConvProblem square(int64_t size, int64_t c, int64_t o, int64_t kernel, int64_t stride,
                   int64_t pad) {
  ConvProblem p{1, size, size, c, 0, 0, o, kernel, kernel, stride, stride};
  p.pad_top = p.pad_left = p.pad_bottom = p.pad_right = pad;
  return p;
}

TEST(Conv, VariantsAgreeWithTheReferenceAtBorders) {
  VariantTally tally("conv");
  int variation = 0;
  for (const Types& types : kTypes) {
#define PARE_CONV_SIZE(b, h, w, c, o, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr, g)                  \
  {                                                                                               \
    Case one = make_case({b, h, w, c, 0, 0, o, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr, g}, types, \
                         ++variation);                                                            \
    check_case(one, tally);                                                                       \
  }
#define PARE_CONV_LAYER(name, size, c, o, kernel, stride, pad)
#include "kernels/conv/cases.inc"
#undef PARE_CONV_SIZE
#undef PARE_CONV_LAYER
  }
  expect_complete(tally, For::kAnyWeights);
}

// Kernels for weights with many zeros beside those for any, on the same operands.
TEST(Conv, VariantsAgreeWithTheReferenceOnPrunedWeights) {
  VariantTally tally("conv pruned");
  int variation = 0;
  for (const double density : {0.0, 0.1, 0.3}) {
    for (const Types& types : kTypes) {
      if (types.weights != DType::kFloat32 && types.weights != DType::kInt8) continue;
#define PARE_CONV_SIZE(b, h, w, c, o, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr, g)                  \
  {                                                                                               \
    Case one = make_case({b, h, w, c, 0, 0, o, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr, g}, types, \
                         ++variation, density);                                                   \
    check_case(one, tally);                                                                       \
  }
#define PARE_CONV_LAYER(name, size, c, o, kernel, stride, pad)
#include "kernels/conv/cases.inc"
#undef PARE_CONV_SIZE
#undef PARE_CONV_LAYER
    }
  }
  for (const Types& types : {kTypes[0], kTypes[1], kTypes[6]}) {
    for (const int64_t batch : {1, 6}) {
      ConvProblem p = square(10, 24, 70, 5, 1, 2);
      p.batch = batch;
      Case one = make_case(p, types, ++variation, 0.1);
      check_case(one, tally);
    }
  }
  expect_complete(tally, For::kPrunedWeights);
}

TEST(Conv, VariantsAgreeWithTheReferenceOnTheLayersOfOurModels) {
  VariantTally tally("conv layers");
  int variation = 0;
  const auto check = [&](const ConvProblem& p) {
    // The reference takes a nanosecond or two for each product.
    const ConvProblem full = with_outputs(p);
    if (full.out_h * full.out_w * p.out_c * p.in_c * p.kernel_h * p.kernel_w > 40'000'000) return;
    for (const Types& types : {kTypes[0], kTypes[4], kTypes[6]}) {
      Case c = make_case(p, types, ++variation);
      check_case(c, tally);
    }
  };
#define PARE_CONV_SIZE(b, h, w, c, o, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr, g)
#define PARE_CONV_LAYER(name, size, c, o, kernel, stride, pad) \
  check(square(size, c, o, kernel, stride, pad));
#include "kernels/conv/cases.inc"
#undef PARE_CONV_SIZE
#undef PARE_CONV_LAYER
}

// Where bytes are multiplied two at a time in sixteen bits: the largest of both signs, and the
// bytes about the bound.
TEST(Conv, TheLargestIntegersDoNotSaturate) {
  VariantTally tally("conv largest");
  for (const int weight : {127, -128}) {
    for (const int byte : {255, 128, 127}) {
      Case c = make_case(square(5, 36, 40, 3, 1, 1), kTypes[7], 4);
      std::memset(c.src.data(), byte, static_cast<size_t>(c.p.in_h * c.p.in_w * c.p.in_c));
      std::memset(c.weights.data(), weight, static_cast<size_t>(c.p.out_c * c.terms()));
      check_case(c, tally);
    }
  }
}

TEST(Conv, AnImageDoesNotDependOnTheOthers) {
  const KernelRequest request{detect_cpu().features, "", false};
  for (const Types& types : {kTypes[0], kTypes[4], kTypes[6]}) {
    ConvProblem p = square(5, 24, 70, 3, 1, 1);
    p.batch = 11;
    Case many = make_case(p, types, 6);
    const auto choice = choose_conv(many.p, request);
    ASSERT_TRUE(choice.ok());
    const std::vector<float> all = run_kernel(*choice->kernel, many, 2);
    many.p.batch = 1;
    const std::vector<float> one = run_kernel(*choice->kernel, many, 2);
    EXPECT_TRUE(all_equal<float>(one, std::span<const float>(all).first(one.size())));
  }
}

TEST(Conv, AHandComputedExample) {
  // A 3x3 kernel of ones with padding over [1 2; 3 4] sums all four everywhere; the bias is -9.
  const float src[] = {1, 2, 3, 4};
  const float weights[] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
  const float bias[] = {-9};
  ConvProblem p = with_outputs(square(2, 1, 1, 3, 1, 1));
  const KernelRequest request{detect_cpu().features, "", false};
  const auto choice = choose_conv(p, request);
  ASSERT_TRUE(choice.ok());
  GuardedBuffer packed((conv_packed_bytes(*choice->kernel, p, weights) + 63) / 64 * 64);
  conv_pack(*choice->kernel, p, weights, packed.data());
  GuardedBuffer scratch((conv_scratch_bytes(*choice->kernel, p, 1) + 63) / 64 * 64);
  float dst[4];
  ConvArgs args{src, packed.data(), dst, {}, scratch.bytes()};
  args.epilogue.bias = bias;
  ThreadPool pool(1);
  conv_run(*choice->kernel, p, args, pool);
  for (float v : dst) EXPECT_EQ(v, 1.0F);
}

TEST(Conv, RefusesWhatDoesNotFit) {
  ConvProblem p = with_outputs(square(8, 3, 4, 3, 1, 1));
  EXPECT_TRUE(choose_conv(p, {}).ok());
  ConvProblem wrong = p;
  wrong.out_h += 1;
  EXPECT_EQ(choose_conv(wrong, {}).status().code(), StatusCode::kInvalidArgument);
  wrong = p;
  wrong.groups = 2;
  EXPECT_EQ(choose_conv(wrong, {}).status().code(), StatusCode::kInvalidArgument);
  wrong = p;
  wrong.stride_w = 0;
  EXPECT_EQ(choose_conv(wrong, {}).status().code(), StatusCode::kInvalidArgument);
  wrong = p;
  wrong.weights_type = DType::kInt8;
  EXPECT_EQ(choose_conv(wrong, {}).status().code(), StatusCode::kUnsupported);
  EXPECT_EQ(conv_out_size(2, 0, 3, 1, 1), 0);
}

TEST(Conv, ChannelSums) {
  const ConvProblem p = square(1, 2, 2, 1, 1, 0);
  const int8_t weights[] = {1, -128, 127, 127};
  int32_t sums[2];
  conv_channel_sums(p, weights, sums);
  EXPECT_EQ(sums[0], -127);
  EXPECT_EQ(sums[1], 254);
}

}  // namespace
}  // namespace pare
