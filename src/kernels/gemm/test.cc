// Every variant of gemm.h against the reference, on the cases of cases.inc.
//
// Integer products must equal the reference. Float products stand within the tolerance of a sum of
// k products and equal each other bit for bit (gemm.h's order of summation), whatever the variant,
// the number of threads and the number of rows.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>

#include "base/cpu_features.h"
#include "kernels/gemm/gemm.h"
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
    {DType::kFloat32, DType::kFloat32, DType::kUInt8},
    {DType::kBFloat16, DType::kFloat32, DType::kBFloat16},
    {DType::kFloat32, DType::kBFloat16, DType::kFloat32},
    {DType::kBFloat16, DType::kBFloat16, DType::kBFloat16},
    {DType::kFloat16, DType::kFloat16, DType::kFloat16},
    {DType::kFloat32, DType::kFloat16, DType::kFloat32},
    {DType::kUInt8, DType::kInt8, DType::kUInt8},
    {DType::kUInt8, DType::kInt8, DType::kFloat32},
    {DType::kUInt8, DType::kInt8, DType::kBFloat16},
};
constexpr Activation kActivations[] = {Activation::kNone, Activation::kRelu, Activation::kGelu,
                                       Activation::kClip, Activation::kGeluTanh};

// One product with its operands.
struct Case {
  GemmProblem p;
  GemmWeights weights;
  int64_t src_stride = 0;
  int32_t src_zero_point = 0;
  GuardedBuffer src{0}, weights_data{0}, bias{0}, int_bias{0}, multiplier{0}, residual{0};
  Epilogue epilogue;

  bool is_integer() const { return p.weights_type == DType::kInt8; }
  int64_t src_count() const { return p.m == 0 ? 0 : (p.m - 1) * src_stride + p.k; }
};

// Zeros in all weights but about `density` of them, and in all of column 1 and of the outputs from
// 32 to 63: of a block of the least size.
void prune(Rng& rng, Case& c, double density) {
  c.p.weight_density = density;
  if (density == 1.0) return;
  const int64_t bytes = dtype_bytes(c.weights.type);
  for (int64_t i = 0; i < c.p.n * c.p.k; ++i) {
    const int64_t n = c.weights.k_major ? i % c.p.n : i / c.p.k;
    const int64_t k = c.weights.k_major ? i / c.p.n : i % c.p.k;
    if (k != 1 && n / 32 != 1 && rng.bernoulli(static_cast<float>(density))) continue;
    std::memset(c.weights_data.data() + i * bytes, 0, static_cast<size_t>(bytes));
  }
}

Case make_case(int64_t m, int64_t n, int64_t k, const Types& types, int variation,
               double density = 1.0) {
  Case c;
  Rng rng(42, RngPurpose::kTest, static_cast<uint64_t>(variation), static_cast<uint32_t>(n));
  c.p = {m, n, k, types.src, types.weights, types.dst};
  c.p.activation = kActivations[variation % 5];
  c.p.residual = variation % 3 == 2;
  c.p.sparse_src = variation % 2 == 1;
  c.src_stride = k + (variation % 2) * 5;
  c.src = random_operand(rng, types.src, c.src_count(), c.p.sparse_src);
  c.weights_data = random_operand(rng, types.weights, n * k);
  c.weights = {n, k, types.weights, c.weights_data.data(), variation % 2 == 0};
  prune(rng, c, density);
  c.bias = GuardedBuffer::of(random_floats(rng, n, -1.0F, 1.0F));
  c.residual = GuardedBuffer::of(random_floats(rng, c.p.residual ? m * n : 0, -1.0F, 1.0F));
  c.int_bias = GuardedBuffer::of(random_ints(rng, n, 1 << 16));
  // Sums of k products of random bytes are about sqrt(k) * 150 * 74.
  const float size = 1.0F / (11000.0F * std::sqrt(static_cast<float>(k) + 1.0F));
  c.multiplier = GuardedBuffer::of(random_floats(rng, n, 0.5F * size, 2.0F * size));
  Epilogue& e = c.epilogue;
  if (c.is_integer()) {
    e.int_bias = variation % 4 == 3 ? nullptr : c.int_bias.as<int32_t>();
    e.multiplier = c.multiplier.as<float>();
  }
  if (!c.is_integer() || variation % 3 == 1) e.bias = c.bias.as<float>();
  if (c.p.residual) {
    e.residual = c.residual.as<float>();
    e.residual_stride = n;
  }
  e.activation = c.p.activation;
  e.alpha = -0.5F;
  e.beta = 0.75F;
  if (types.dst == DType::kUInt8) {
    e.out_scale = 0.01F;
    e.out_zero_point = 100;
    e.out_lo = variation % 2 == 0 ? 0 : 100;
    e.out_hi = 255;
  }
  return c;
}

std::string describe(const GemmProblem& p, const char* kernel) {
  return std::string(kernel) + ": " + std::to_string(p.m) + "x" + std::to_string(p.n) + "x" +
         std::to_string(p.k) + " " + dtype_name(p.src_type) + " by " + dtype_name(p.weights_type) +
         " to " + dtype_name(p.dst_type) + ", activation " +
         std::to_string(static_cast<int>(p.activation));
}

GuardedBuffer pack(const GemmKernel& kernel, const Case& c) {
  GuardedBuffer packed((gemm_packed_bytes(kernel, c.weights) + 63) / 64 * 64);
  gemm_pack(kernel, c.weights, packed.data());
  EXPECT_TRUE(packed.intact());
  return packed;
}

// Runs the product with `kernel` on its packed weights; the result as floats.
std::vector<float> run_packed(const GemmKernel& kernel, Case& c, GuardedBuffer& packed,
                              int threads) {
  const int64_t scratch_bytes = gemm_scratch_bytes(kernel, c.p, threads);
  GuardedBuffer scratch((scratch_bytes + 63) / 64 * 64);
  GuardedBuffer dst(c.p.m * c.p.n * dtype_bytes(c.p.dst_type));
  GemmArgs args;
  args.src = c.src.data();
  args.src_stride = c.src_stride;
  args.packed = packed.data();
  args.dst = dst.data();
  args.dst_stride = c.p.n;
  args.epilogue = c.epilogue;
  args.scratch = scratch.bytes();
  args.src_zero_point = c.src_zero_point;
  ThreadPool pool(threads);
  gemm_run(kernel, c.p, args, pool);
  EXPECT_TRUE(dst.intact() && scratch.intact());
  return as_floats(c.p.dst_type, dst);
}

std::vector<float> run_kernel(const GemmKernel& kernel, Case& c, int threads) {
  GuardedBuffer packed = pack(kernel, c);
  return run_packed(kernel, c, packed, threads);
}

Tolerance tolerance_of(Case& c) {
  Tolerance t = product_tolerance(c.p.k, 1.0, 1.0, c.p.dst_type, 2.0);
  t.absolute *= 1.2;                                  // the activations' steepest slope
  if (c.p.dst_type == DType::kUInt8) t = {1.0, 0.0};  // a sum beside a rounding border
  return t;
}

// Kernels that leave out zero inputs take large layers alone, where that pays, but multiply any.
bool is_columns(const GemmKernel& kernel) {
  return std::string(kernel.name).find("columns") != std::string::npos;
}
GemmProblem asked_as(const GemmKernel& kernel, GemmProblem p) {
  if (is_columns(kernel)) p.n = p.k = 4096;
  return p;
}

// Checks all kernels that take the case; the reference must take every case.
void check_case(Case& c, VariantTally& tally) {
  const KernelRequest request{detect_cpu().features, "", false};
  const GemmKernel& reference = *gemm_kernels().back();
  const std::vector<float> want = run_kernel(reference, c, 2);
  std::optional<std::vector<float>> first_float;
  for (const GemmKernel* kernel : gemm_kernels().first(gemm_kernels().size() - 1)) {
    const GemmProblem asked = asked_as(*kernel, c.p);
    if (kernel->refuse(asked) != nullptr) continue;
    KernelRequest forced = request;
    forced.forced = kernel->name;
    const auto choice = choose_gemm(asked, forced);
    if (!choice.ok()) {
      tally.skipped(kernel->name, choice.status().message());
      continue;
    }
    SCOPED_TRACE(describe(c.p, kernel->name));
    GuardedBuffer packed = pack(*kernel, c);
    const std::vector<float> got = run_packed(*kernel, c, packed, 1);
    tally.ran(kernel->name);
    EXPECT_TRUE(all_equal<float>(run_packed(*kernel, c, packed, 3), got))
        << "threads change the result";
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
bool is_sparse(const GemmKernel& kernel) {
  return std::string(kernel.name).find("sparse") != std::string::npos;
}

void expect_complete(const VariantTally& tally, For weights) {
  for (const GemmKernel* kernel : gemm_kernels().first(gemm_kernels().size() - 1)) {
    if (is_sparse(*kernel) != (weights == For::kPrunedWeights)) continue;
    EXPECT_TRUE(tally.has_run(kernel->name) || tally.was_skipped(kernel->name))
        << kernel->name << " took no case";
  }
}

TEST(Gemm, VariantsAgreeWithTheReferenceAtBorders) {
  VariantTally tally("gemm");
  int variation = 0;
  for (const Types& types : kTypes) {
#define PARE_GEMM_SIZE(m, n, k)                      \
  {                                                  \
    Case c = make_case(m, n, k, types, ++variation); \
    check_case(c, tally);                            \
  }
#define PARE_GEMM_LAYER(name, rows, n, k)
#define PARE_MATMUL_SIZE(batch, m, n, k)
#include "kernels/gemm/cases.inc"
#undef PARE_GEMM_SIZE
#undef PARE_GEMM_LAYER
  }
  expect_complete(tally, For::kAnyWeights);
}

// Kernels for weights with many zeros beside those for any, on the same operands. All outputs but
// one block may be zero; the sizes stand around a block of outputs, a stretch of k and the rows of
// a vector and of a block.
TEST(Gemm, VariantsAgreeWithTheReferenceOnPrunedWeights) {
  VariantTally tally("gemm pruned");
  int variation = 0;
  const auto check = [&](int64_t m, int64_t n, int64_t k, double density) {
    for (const Types& types : kTypes) {
      if (types.weights != DType::kFloat32 && types.weights != DType::kInt8) continue;
      Case c = make_case(m, n, k, types, ++variation, density);
      check_case(c, tally);
    }
  };
  for (const double density : {0.0, 0.05, 0.15, 0.35}) {
#define PARE_GEMM_SIZE(m, n, k) check(m, n, k, density);
#define PARE_GEMM_LAYER(name, rows, n, k)
#define PARE_MATMUL_SIZE(batch, m, n, k)
#include "kernels/gemm/cases.inc"
#undef PARE_GEMM_SIZE
#undef PARE_GEMM_LAYER
  }
  for (const int64_t m : {1, 2, 3, 7, 8, 9, 25, 63, 95, 97, 129, 200}) {
    for (const int64_t n : {31, 33}) check(m, n, 257, 0.1);
  }
  for (const int64_t n : {255, 256, 257, 2047, 2049}) {
    for (const int64_t m : {1, 9}) check(m, n, 255, 0.2);
  }
  for (const int64_t k : {255, 256, 511, 513}) check(40, 65, k, 0.1);
  expect_complete(tally, For::kPrunedWeights);
}

TEST(Gemm, PrunedWeightsAreMultipliedWithoutTheirZeros) {
  const KernelRequest request{detect_cpu().features, "", false};
  if (!request.cpu.avx2) GTEST_SKIP() << "needs avx2";
  for (const Types& types : {kTypes[0], kTypes[7]}) {
    const auto name = [&](double density) {
      GemmProblem p{8, 64, 64, types.src, types.weights, types.dst};
      p.weight_density = density;
      return std::string(choose_gemm(p, request)->kernel->name);
    };
    EXPECT_NE(name(0.1).find("sparse"), std::string::npos);
    EXPECT_EQ(name(0.9).find("sparse"), std::string::npos);
  }
}

// Sources from all zero to none, with zero points from the least to the greatest; sizes around a
// line of weights, a piece of a column, a block and its depth, and the rows that go one by one.
TEST(Gemm, VariantsAgreeWithTheReferenceOnSparseSources) {
  VariantTally tally("gemm sparse sources");
  int variation = 0;
  const auto check = [&](int64_t m, int64_t n, int64_t k, double density, int32_t zero_point) {
    for (const Types& types : kTypes) {
      Case c = make_case(m, n, k, types, ++variation);
      c.p.sparse_src = true;
      Rng rng(5, RngPurpose::kTest, static_cast<uint64_t>(variation));
      const bool bytes = types.src == DType::kUInt8;
      c.src_zero_point = bytes ? zero_point : 0;
      for (int64_t i = 0; i < c.src_count(); ++i) {
        if (rng.bernoulli(static_cast<float>(density))) continue;
        const auto zero = static_cast<float>(c.src_zero_point);
        store_from_float(types.src, c.src.data(), i, zero, {});
      }
      check_case(c, tally);
    }
  };
  for (const double density : {0.0, 0.02, 0.3, 1.0}) {
    for (const int32_t zero_point : {0, 1, 128, 255}) check(1, 70, 100, density, zero_point);
    for (const int64_t m : {1, 2, 4, 5, 9, 100}) check(m, 300, 261, density, 3);
  }
  for (const int64_t n : {15, 16, 17, 31, 33, 63, 65, 255, 257, 4095, 4097, 8200}) {
    check(1, n, 37, 0.4, 0);
    check(3, n, 5, 0.4, 7);
  }
  for (const int64_t k : {1, 2, 3, 4, 5, 255, 256, 257, 600}) {
    check(1, 130, k, 0.5, 0);
    check(6, 130, k, 0.5, 0);
  }
  check(4, 4096, 300, 0.2, 0);   // several stretches of columns
  check(20, 1100, 300, 1.0, 3);  // several blocks of outputs, and of the depth
  check(9, 4200, 70, 1.0, 3);
  for (const GemmKernel* kernel : gemm_kernels()) {
    if (!is_columns(*kernel)) continue;
    EXPECT_TRUE(tally.has_run(kernel->name) || tally.was_skipped(kernel->name)) << kernel->name;
  }
}

// Zero times infinity is NaN: a zero input does not hide such a weight.
TEST(Gemm, AZeroInputLeavesOutFiniteWeightsAlone) {
  for (const DType type : {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
    for (const int64_t m : {1, 2, 4}) {
      Case c = make_case(m, 40, 50, {DType::kFloat32, type, DType::kFloat32}, 1);
      c.p.sparse_src = true;
      c.p.activation = c.epilogue.activation = Activation::kNone;
      c.p.residual = false;
      c.epilogue.residual = nullptr;
      for (int64_t i = 0; i < c.src_count(); i += 2) c.src.as<float>()[i] = 0.0F;
      const auto set = [&](int64_t n, int64_t k, float value) {
        store_from_float(type, c.weights_data.data(), c.weights.k_major ? k * 40 + n : n * 50 + k,
                         value, {});
      };
      const float infinity = std::numeric_limits<float>::infinity();
      set(3, 10, infinity);
      set(17, 12, -infinity);
      set(39, 49, std::numeric_limits<float>::quiet_NaN());
      const std::vector<float> want = run_kernel(*gemm_kernels().back(), c, 1);
      for (const GemmKernel* kernel : gemm_kernels()) {
        if (!is_columns(*kernel) || kernel->refuse(asked_as(*kernel, c.p)) != nullptr) continue;
        if ((kernel->needs & ~isa_bits(detect_cpu().features)) != 0) continue;
        SCOPED_TRACE(describe(c.p, kernel->name));
        const std::vector<float> got = run_kernel(*kernel, c, 2);
        for (size_t i = 0; i < want.size(); ++i) {
          EXPECT_EQ(std::isnan(got[i]), std::isnan(want[i])) << i;
        }
      }
    }
  }
}

TEST(Gemm, ColumnsAreUnpackedAsTheyWere) {
  for (const Types& types : {kTypes[0], kTypes[4], kTypes[7]}) {
    Case c = make_case(1, 37, 50, types, 2);  // [K,N]
    for (const GemmKernel* kernel : gemm_kernels()) {
      if (kernel->unpack == nullptr) continue;
      GuardedBuffer packed = pack(*kernel, c);
      GuardedBuffer dense(c.weights_data.size_bytes());
      kernel->unpack(c.weights, packed.data(), dense.data());
      EXPECT_TRUE(dense.intact());
      EXPECT_EQ(
          std::memcmp(dense.data(), c.weights_data.data(), static_cast<size_t>(dense.size_bytes())),
          0);
    }
  }
}

TEST(Gemm, ColumnsAreForLargeLayersBehindARelu) {
  const KernelRequest request{detect_cpu().features, "", false};
  if (!request.cpu.avx2) GTEST_SKIP() << "needs avx2";
  for (const Types& types : {kTypes[0], kTypes[3], kTypes[7]}) {
    const auto name = [&](int64_t m, int64_t n, bool sparse_src, double density = 1.0) {
      GemmProblem p{m, n, 4096, types.src, types.weights, types.dst};
      p.sparse_src = sparse_src;
      p.weight_density = density;
      return std::string(choose_gemm(p, request)->kernel->name);
    };
    // One packing of bytes serves every number of rows.
    const bool bytes = types.weights == DType::kInt8;
    for (const int64_t m : {1, 4, 64}) {
      EXPECT_EQ(name(m, 4096, true).find("columns") != std::string::npos, bytes || m <= 4);
    }
    EXPECT_EQ(name(1, 4096, false).find("columns"), std::string::npos);
    EXPECT_EQ(name(1, 10, true).find("columns"), std::string::npos);
    if (types.weights == DType::kBFloat16) continue;
    EXPECT_NE(name(1, 4096, true, 0.1).find("sparse"), std::string::npos);
  }
}

TEST(Gemm, VariantsAgreeWithTheReferenceOnTheLayersOfOurModels) {
  VariantTally tally("gemm layers");
  int variation = 0;
  const auto check = [&](int64_t rows, int64_t n, int64_t k) {
    for (const Types& types : {kTypes[0], kTypes[4], kTypes[5], kTypes[7]}) {
      Case c = make_case(rows, n, k, types, ++variation);
      check_case(c, tally);
    }
  };
#define PARE_GEMM_SIZE(m, n, k)
#define PARE_GEMM_LAYER(name, rows, n, k) check(rows, n, k);
#include "kernels/gemm/cases.inc"
#undef PARE_GEMM_SIZE
#undef PARE_GEMM_LAYER
#undef PARE_MATMUL_SIZE
}

TEST(Gemm, ARowDoesNotDependOnTheOthers) {
  const KernelRequest request{detect_cpu().features, "", false};
  for (const Types& types : {kTypes[0], kTypes[4], kTypes[7]}) {
    Case many = make_case(37, 70, 200, types, 6);
    const auto choice = choose_gemm(many.p, request);
    ASSERT_TRUE(choice.ok());
    const std::vector<float> all = run_kernel(*choice->kernel, many, 2);
    many.p.m = 1;
    const auto single = choose_gemm(many.p, request);
    ASSERT_TRUE(single.ok());
    EXPECT_STREQ(single->kernel->packing, choice->kernel->packing);
    const std::vector<float> one = run_kernel(*single->kernel, many, 2);
    EXPECT_TRUE(all_equal<float>(one, std::span<const float>(all).first(one.size())));
  }
}

TEST(Gemm, AWrongWeightIsNoticed) {
  Case c = make_case(5, 33, 40, kTypes[0], 6);
  const std::vector<float> want = run_kernel(*gemm_kernels().back(), c, 1);
  c.weights_data.as<float>()[17] += 0.01F;
  const std::vector<float> got = run_kernel(*gemm_kernels().back(), c, 1);
  EXPECT_FALSE(all_close(got, want, tolerance_of(c)));
}

TEST(Gemm, RefusesTypesItDoesNotMultiply) {
  GemmProblem p{1, 1, 1, DType::kFloat32, DType::kInt8, DType::kFloat32};
  EXPECT_EQ(choose_gemm(p, {}).status().code(), StatusCode::kUnsupported);
  p = {1, 1, 1, DType::kUInt8, DType::kInt8, DType::kInt32};
  EXPECT_EQ(choose_gemm(p, {}).status().code(), StatusCode::kUnsupported);
  p = {-1, 1, 1};
  EXPECT_EQ(choose_gemm(p, {}).status().code(), StatusCode::kInvalidArgument);
  const auto baseline = choose_gemm({4, 4, 4}, {});
  ASSERT_TRUE(baseline.ok());
  EXPECT_STREQ(baseline->kernel->name, "gemm_reference");
}

TEST(Gemm, ColumnSumsFollowTheLayout) {
  const int8_t values[] = {1, 2, 3, -4, 5, -128};
  int32_t sums[3];
  gemm_column_sums({2, 3, DType::kInt8, values, false}, sums);
  EXPECT_EQ(sums[0], 6);
  EXPECT_EQ(sums[1], -127);
  gemm_column_sums({3, 2, DType::kInt8, values, true}, sums);
  EXPECT_EQ(sums[0], -3);
  EXPECT_EQ(sums[1], 7);
  EXPECT_EQ(sums[2], -125);
}

void check_matmul(int64_t batch, int64_t m, int64_t n, int64_t k, bool transpose_b,
                  VariantTally& tally) {
  Rng rng(7, RngPurpose::kTest, static_cast<uint64_t>(n), transpose_b ? 1 : 0);
  const MatMulProblem p{batch, m, n, k, transpose_b};
  GuardedBuffer a = random_operand(rng, DType::kFloat32, batch * m * k);
  GuardedBuffer b = random_operand(rng, DType::kFloat32, n * k);  // one for the whole batch
  std::vector<int64_t> a_offsets;
  for (int64_t i = 0; i < batch; ++i) a_offsets.push_back(i * m * k);
  const std::vector<int64_t> b_offsets(static_cast<size_t>(batch), 0);
  const auto run = [&](const MatMulKernel& kernel, int threads) {
    GuardedBuffer dst(batch * m * n * 4);
    GuardedBuffer scratch((matmul_scratch_bytes(kernel, p, threads) + 63) / 64 * 64);
    MatMulArgs args{a.as<float>(), b.as<float>(), dst.as<float>(), k, transpose_b ? k : n};
    args.a_offsets = a_offsets;
    args.b_offsets = b_offsets;
    args.scratch = scratch.bytes();
    ThreadPool pool(threads);
    matmul_run(kernel, p, args, pool);
    EXPECT_TRUE(dst.intact() && scratch.intact());
    return as_floats(DType::kFloat32, dst);
  };
  const std::vector<float> want = run(*matmul_kernels().back(), 1);
  const IsaBits have = isa_bits(detect_cpu().features);
  for (const MatMulKernel* kernel : matmul_kernels().first(matmul_kernels().size() - 1)) {
    if ((kernel->needs & ~have) != 0) {
      tally.skipped(kernel->name, "needs " + isa_string(kernel->needs & ~have));
      continue;
    }
    SCOPED_TRACE(kernel->name);
    const std::vector<float> got = run(*kernel, 1);
    tally.ran(kernel->name);
    EXPECT_TRUE(all_close(got, want, product_tolerance(k, 1.0, 1.0, DType::kFloat32)));
    EXPECT_TRUE(all_equal<float>(run(*kernel, 2), got)) << "threads change the result";
  }
}

TEST(MatMul, VariantsAgreeWithTheReference) {
  VariantTally tally("matmul");
#define PARE_GEMM_SIZE(m, n, k)
#define PARE_GEMM_LAYER(name, rows, n, k)
#define PARE_MATMUL_SIZE(batch, m, n, k)      \
  check_matmul(batch, m, n, k, false, tally); \
  check_matmul(batch, m, n, k, true, tally);
#include "kernels/gemm/cases.inc"
#undef PARE_GEMM_SIZE
#undef PARE_GEMM_LAYER
#undef PARE_MATMUL_SIZE
}

}  // namespace
}  // namespace pare
