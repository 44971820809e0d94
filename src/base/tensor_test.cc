#include "base/tensor.h"

#include <gtest/gtest.h>

#include <cmath>

namespace pare {
namespace {

// Every half, there and back: conversion must be the identity on values that a half can hold.
TEST(Float16, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = half_bits_to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_bits_to_float(float_to_half_bits(value))));
    } else {
      EXPECT_EQ(float_to_half_bits(value), half) << value;
    }
  }
}

TEST(Float16, RoundsToNearestEven) {
  EXPECT_EQ(float_to_half_bits(1.0F + 0x1p-11F), 0x3c00);      // tie, down to even
  EXPECT_EQ(float_to_half_bits(1.0F + 3 * 0x1p-11F), 0x3c02);  // tie, up to even
  EXPECT_EQ(float_to_half_bits(65519.99F), 0x7bff);
  EXPECT_EQ(float_to_half_bits(65520.0F), 0x7c00);
  EXPECT_EQ(float_to_half_bits(0x1p-25F), 0x0000);  // tie, to zero
  EXPECT_EQ(float_to_half_bits(std::nextafter(0x1p-25F, 1.0F)), 0x0001);
}

TEST(BFloat16, RoundsToNearestEven) {
  EXPECT_EQ(float_to_bfloat16_bits(1.0F + 0x1p-8F), 0x3f80);
  EXPECT_EQ(float_to_bfloat16_bits(1.0F + 3 * 0x1p-8F), 0x3f82);
  EXPECT_TRUE(std::isnan(bfloat16_bits_to_float(float_to_bfloat16_bits(NAN))));
}

TEST(Tensor, CopiesShareMemoryUntilWritten) {
  Tensor a = Tensor::from_values<float>({2, 2}, std::vector<float>{1, 2, 3, 4});
  Tensor b = a;
  EXPECT_EQ(a.data(), b.data());
  b.mutable_values<float>()[0] = 9;
  EXPECT_NE(a.data(), b.data());
  EXPECT_EQ(a.values<float>()[0], 1);
  EXPECT_EQ(b.values<float>()[0], 9);
}

TEST(Tensor, RefusesHostileShapes) {
  EXPECT_EQ(Tensor::create(DType::kFloat32, {-1, 4}).status().code(), StatusCode::kCorrupt);
  EXPECT_EQ(Tensor::create(DType::kFloat32, {int64_t{1} << 30, int64_t{1} << 30}).status().code(),
            StatusCode::kCorrupt);
  // A zero must not hide what the other sizes come to, wherever it stands.
  EXPECT_EQ(*checked_element_count({3, 0, 4}), 0);
  EXPECT_FALSE(checked_element_count({0, INT64_MAX, INT64_MAX}).ok());
  EXPECT_FALSE(checked_element_count({INT64_MAX, INT64_MAX, 0}).ok());
}

TEST(Tensor, Int4PacksTheFirstElementLow) {
  Tensor t(DType::kInt4, {3});
  set_int4(t.mutable_data(), 0, -8);
  set_int4(t.mutable_data(), 1, 7);
  set_int4(t.mutable_data(), 2, -1);
  EXPECT_EQ(t.byte_count(), 2);
  EXPECT_EQ(static_cast<int>(t.data()[0]), 0x78);
  EXPECT_EQ(to_float_vector(t), (std::vector<float>{-8, 7, -1}));
}

TEST(Tensor, CountsZerosOfAnyType) {
  // 700 elements, more than a block; every third is zero, of either sign where there are two.
  for (const DType type : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat64}) {
    std::vector<float> values(700, -1.5F);
    for (size_t i = 0; i < values.size(); i += 3) values[i] = i % 2 == 0 ? 0.0F : -0.0F;
    const auto tensor = convert_floating(Tensor::from_values<float>({700}, values), type);
    ASSERT_TRUE(tensor.ok());
    EXPECT_EQ(count_zeros(*tensor), 234) << dtype_name(type);
  }
  std::vector<int8_t> bytes(700, -128);
  for (size_t i = 0; i < bytes.size(); i += 3) bytes[i] = 0;
  EXPECT_EQ(count_zeros(Tensor::from_values<int8_t>({700}, bytes)), 234);
  EXPECT_EQ(count_zeros(Tensor::from_values<int64_t>({3}, std::vector<int64_t>{0, 5, 0})), 2);
  EXPECT_EQ(count_zeros(Tensor(DType::kFloat32, {0})), 0);
}

}  // namespace
}  // namespace pare
