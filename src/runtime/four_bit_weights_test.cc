#include "runtime/four_bit_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "runtime/executor.h"

namespace pare {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kInputs = 70;
constexpr int64_t kOutputs = 6;
constexpr int64_t kBlock = 32;

Tensor four_bits(DType type, const Shape& shape, uint64_t seed) {
  Rng rng(seed, RngPurpose::kTest);
  Tensor tensor(type, shape);
  std::byte* data = tensor.mutable_data();
  const int32_t low = dtype_min(type);
  for (int64_t i = 0; i < tensor.size(); ++i)
    set_int4(data, i, low + static_cast<int32_t>(rng.below(16)));
  return tensor;
}

// x in bytes, dequantised, times a constant behind DequantizeLinear: [N, 70] -> [N, 6].
Graph dense(Tensor weight, Tensor scale, std::map<std::string, Attribute> attributes,
            bool transposed) {
  Graph g;
  g.opset = 21;
  g.inputs = {{"x", DType::kUInt8, {kDynamic, kInputs}}};
  g.outputs = {{"y", DType::kFloat32, {kDynamic, kOutputs}}};
  g.initializers["x_scale"] = Tensor::scalar<float>(0.02F);
  g.initializers["x_zero"] = Tensor::scalar<uint8_t>(100);
  g.initializers["w_scale"] = std::move(scale);
  g.initializers["w"] = std::move(weight);
  g.nodes = {{"DequantizeLinear", "", "x.dq", {"x", "x_scale", "x_zero"}, {"xf"}, {}},
             {"DequantizeLinear", "", "w.dq", {"w", "w_scale"}, {"wf"}, std::move(attributes)},
             {"Gemm", "", "fc", {"xf", "wf"}, {"y"}, {{"transB", int64_t{transposed ? 1 : 0}}}}};
  return g;
}

Tensor scales_of(const Shape& shape, uint64_t seed) {
  Rng rng(seed, RngPurpose::kTest);
  Tensor scales(DType::kFloat32, shape);
  for (float& s : scales.mutable_values<float>()) s = rng.uniform(0.01F, 0.03F);
  return scales;
}

// Scales in blocks, [O, 3] or [3, O], whole multiples of one number a channel.
Tensor block_scales(bool transposed) {
  Tensor scales(DType::kFloat32, transposed ? Shape{kOutputs, 3} : Shape{3, kOutputs});
  auto s = scales.mutable_values<float>();
  for (size_t c = 0; c < kOutputs; ++c) {
    const float own = 0.0013F * static_cast<float>(c + 3);
    for (size_t b = 0; b < 3; ++b)
      s[transposed ? c * 3 + b : b * kOutputs + c] =
          own * static_cast<float>((c * 7 + b * 5) % 15 + 1);
  }
  return scales;
}

std::vector<uint8_t> bytes(int64_t rows) {
  std::vector<uint8_t> x;
  for (int64_t i = 0; i < rows * kInputs; ++i) x.push_back(static_cast<uint8_t>(i * 89 % 251));
  return x;
}

// The formula in double: sum of (x - 100) * 0.02 * (w - zero) * scale of w's block.
std::vector<double> by_formula(const Graph& g, int64_t rows, bool transposed, int64_t block,
                               int32_t zero_point) {
  const Tensor& w = g.initializers.at("w");
  const std::vector<float> scales = to_float_vector(g.initializers.at("w_scale"));
  const std::vector<uint8_t> x = bytes(rows);
  const int64_t blocks = (kInputs + block - 1) / block;
  std::vector<double> y;
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t o = 0; o < kOutputs; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < kInputs; ++i) {
        const int64_t b = i / block;
        const double scale =
            scales[static_cast<size_t>(transposed ? o * blocks + b : b * kOutputs + o)];
        const int32_t q = int4_at(w, transposed ? o * kInputs + i : i * kOutputs + o);
        sum += (x[static_cast<size_t>(n * kInputs + i)] - 100) * 0.02 * (q - zero_point) * scale;
      }
      y.push_back(sum);
    }
  }
  return y;
}

void expect_formula(const Graph& g, bool transposed, int64_t block, int32_t zero_point = 0) {
  constexpr int64_t kRows = 5;
  const std::vector<double> want = by_formula(g, kRows, transposed, block, zero_point);
  for (const bool reference : {true, false}) {
    auto executor =
        Executor::create(g, {.batch = kRows, .threads = 2, .reference_kernels = reference});
    ASSERT_TRUE(executor.ok()) << executor.status().message();
    const std::vector<Tensor> x = {Tensor::from_values<uint8_t>({kRows, kInputs}, bytes(kRows))};
    const auto y = executor->run(x);
    ASSERT_TRUE(y.ok()) << y.status().message();
    const std::vector<float> got = to_float_vector((*y)[0]);
    double largest = 0;
    for (const double v : want) largest = std::max(largest, std::fabs(v));
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5 * largest) << i;
  }
}

const Tensor& weights_of(const Graph& g) { return g.initializers.at(g.nodes[1].inputs[0]); }

TEST(FourBitWeights, ChannelsAreTheSameIntegers) {
  for (const bool transposed : {true, false}) {
    const Shape shape = transposed ? Shape{kOutputs, kInputs} : Shape{kInputs, kOutputs};
    const Graph g = dense(four_bits(DType::kInt4, shape, 1), scales_of({kOutputs}, 2),
                          {{"axis", int64_t{transposed ? 0 : 1}}}, transposed);
    const Graph wide = widen_four_bit_weights(g);
    ASSERT_EQ(weights_of(wide).type(), DType::kInt8);
    EXPECT_EQ(to_float_vector(weights_of(wide)), to_float_vector(g.initializers.at("w")));
    EXPECT_EQ(wide.initializers.count("w"), 0U);
    expect_formula(g, transposed, kInputs);
  }
}

TEST(FourBitWeights, UnsignedOnesLoseTheirZeroPoint) {
  Graph g = dense(four_bits(DType::kUInt4, {kOutputs, kInputs}, 3), scales_of({kOutputs}, 4),
                  {{"axis", int64_t{0}}}, true);
  Tensor zero(DType::kUInt4, {kOutputs});
  for (int64_t i = 0; i < kOutputs; ++i) set_int4(zero.mutable_data(), i, 8);
  g.initializers["w_zero"] = zero;
  g.nodes[1].inputs.emplace_back("w_zero");
  EXPECT_EQ(weights_of(widen_four_bit_weights(g)).type(), DType::kInt8);
  expect_formula(g, true, kInputs, 8);
  set_int4(g.initializers["w_zero"].mutable_data(), 2, 7);  // one of them differs: floats
  EXPECT_EQ(weights_of(widen_four_bit_weights(g)).type(), DType::kUInt4);
}

TEST(FourBitWeights, BlocksWithWholeMultiplesAreIntegersOfEightBits) {
  for (const bool transposed : {true, false}) {
    const Shape shape = transposed ? Shape{kOutputs, kInputs} : Shape{kInputs, kOutputs};
    const Graph g =
        dense(four_bits(DType::kInt4, shape, 5), block_scales(transposed),
              {{"axis", int64_t{transposed ? 1 : 0}}, {"block_size", kBlock}}, transposed);
    const Graph wide = widen_four_bit_weights(g);
    EXPECT_EQ(weights_of(wide).type(), DType::kInt8);
    EXPECT_EQ(wide.nodes[1].int_attribute("axis", -1), transposed ? 0 : 1);
    EXPECT_EQ(wide.nodes[1].attributes.count("block_size"), 0U);
    expect_formula(g, transposed, kBlock);
  }
}

TEST(FourBitWeights, OtherBlocksAreMultipliedAsFloats) {
  const Graph g =
      dense(four_bits(DType::kInt4, {kOutputs, kInputs}, 6), scales_of({kOutputs, 3}, 7),
            {{"axis", int64_t{1}}, {"block_size", kBlock}}, true);
  EXPECT_EQ(weights_of(widen_four_bit_weights(g)).type(), DType::kInt4);
  expect_formula(g, true, kBlock);
}

TEST(FourBitWeights, ScalesThatDoNotFitTheBlocksAreRefused) {
  const Graph g =
      dense(four_bits(DType::kInt4, {kOutputs, kInputs}, 6), scales_of({kOutputs, 2}, 7),
            {{"axis", int64_t{1}}, {"block_size", kBlock}}, true);
  const Status status = check_graph(g);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("scale of 6x2, expected 6x3"));
}

TEST(CommonScale, FindsTheLargestNumber) {
  const float s = 0.0123F;
  const auto found = find_common_scale(std::vector<float>{s * 15, s * 4, s, s * 7});
  ASSERT_TRUE(found.has_value());
  EXPECT_FLOAT_EQ(found->scale, s);
  EXPECT_THAT(found->factors, ElementsAre(15, 4, 1, 7));
  const auto even = find_common_scale(std::vector<float>{s * 8, s * 4});
  ASSERT_TRUE(even.has_value());
  EXPECT_THAT(even->factors, ElementsAre(2, 1));
  EXPECT_FALSE(find_common_scale(std::vector<float>{1.0F, 0.31F}).has_value());
  EXPECT_FALSE(find_common_scale(std::vector<float>{1.0F, 0.0F}).has_value());
  EXPECT_FALSE(find_common_scale(std::vector<float>{1.0F, NAN}).has_value());
}

// Every product of a number and a factor, rounded, is undone.
TEST(CommonScale, UndoesRounding) {
  Rng rng(11, RngPurpose::kTest);
  for (int trial = 0; trial < 2000; ++trial) {
    const float s = std::exp(rng.uniform(-20.0F, 5.0F));
    std::vector<float> scales = {s};
    for (int i = 0; i < 8; ++i) scales.push_back(s * static_cast<float>(1 + rng.below(15)));
    const auto found = find_common_scale(scales);
    ASSERT_TRUE(found.has_value()) << s;
    EXPECT_NEAR(found->scale / s, 1.0, 2e-7);
  }
}

}  // namespace
}  // namespace pare
