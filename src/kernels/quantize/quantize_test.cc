#include "kernels/quantize/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <vector>

#include "base/rng.h"
#include "kernels/quantize/integer_products.h"

namespace pare {
namespace {

template <typename F>
void for_each_kernel(F&& f) {
  for (const char* name :
       {"dynamic_quantize_avx512", "dynamic_quantize_avx2", "dynamic_quantize_reference"}) {
    auto choice = choose_dynamic_quantize({}, {.cpu = detect_cpu().features, .forced = name});
    if (!choice.ok()) {
      std::printf("skipped %s: %s\n", name, choice.status().message().c_str());
      continue;
    }
    SCOPED_TRACE(name);
    f(*choice->kernel);
  }
}

TEST(DynamicQuantize, ByHand) {
  // ONNX's own example: the range is -2.5 … 2.
  const std::vector<float> x = {0, 2, -3, -2.5F, 1.34F, 0.5F};
  for_each_kernel([&](const DynamicQuantizeKernel& kernel) {
    ThreadPool pool(2);
    std::vector<uint8_t> q(x.size());
    float scale = 0;
    uint8_t zero_point = 0;
    run_dynamic_quantize(kernel, {.count = 6}, x.data(), q.data(), &scale, &zero_point, pool);
    EXPECT_FLOAT_EQ(scale, 0.0196078438F);
    EXPECT_EQ(zero_point, 153);
    EXPECT_EQ(q, (std::vector<uint8_t>{153, 255, 0, 26, 221, 179}));
  });
}

TEST(DynamicQuantize, AllZeros) {
  const std::vector<float> x(5, 0.0F);
  for_each_kernel([&](const DynamicQuantizeKernel& kernel) {
    ThreadPool pool(1);
    std::vector<uint8_t> q(x.size(), 7);
    float scale = 0;
    uint8_t zero_point = 9;
    run_dynamic_quantize(kernel, {.count = 5}, x.data(), q.data(), &scale, &zero_point, pool);
    EXPECT_EQ(scale, 1.0F);
    EXPECT_EQ(zero_point, 0);
    EXPECT_EQ(q, std::vector<uint8_t>(5, 0));
  });
}

TEST(DynamicQuantize, AllVariantsAndThreadsGiveTheSameBits) {
  Rng rng(11, RngPurpose::kTest);
  std::vector<float> x(100'003);
  for (float& v : x) v = rng.normal();
  std::vector<uint8_t> first;
  for_each_kernel([&](const DynamicQuantizeKernel& kernel) {
    for (int threads : {1, 3}) {
      ThreadPool pool(threads);
      std::vector<uint8_t> q(x.size());
      float scale = 0;
      uint8_t zero_point = 0;
      run_dynamic_quantize(kernel, {.count = static_cast<int64_t>(x.size())}, x.data(), q.data(),
                           &scale, &zero_point, pool);
      if (first.empty()) first = q;
      EXPECT_EQ(q, first);
    }
  });
}

TEST(IntegerProducts, MatMulByHand) {
  // (a - 1) (b + 2) with a = [[1, 3], [0, 255]], b = [[1, -2], [4, -128]]
  const std::vector<uint8_t> a = {1, 3, 0, 255};
  const std::vector<int8_t> b = {1, -2, 4, -128};
  std::vector<int32_t> dst(4);
  ThreadPool pool(2);
  run_matmul_integer({.m = 2, .n = 2, .k = 2, .a_offsets = {0}, .b_offsets = {0}},
                     {a.data(), false}, {b.data(), true}, {1}, {-2, -2}, dst.data(), pool);
  EXPECT_EQ(dst, (std::vector<int32_t>{12, -252, -3 + 254 * 6, 254 * -126}));
}

TEST(IntegerProducts, ConvPadsWithTheZeroPoint) {
  // A 1x1 image in a 3x3 kernel: only the middle weight counts.
  const std::vector<uint8_t> src = {10};
  const std::vector<int8_t> weights = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  int32_t dst = 0;
  ThreadPool pool(1);
  run_conv_integer({.in_c = 1,
                    .in_h = 1,
                    .in_w = 1,
                    .out_c = 1,
                    .out_h = 1,
                    .out_w = 1,
                    .kernel_h = 3,
                    .kernel_w = 3,
                    .pad_top = 1,
                    .pad_left = 1},
                   {src.data(), false}, {weights.data(), true}, 7, {1}, &dst, pool);
  EXPECT_EQ(dst, 3 * 4);
}

}  // namespace
}  // namespace pare
