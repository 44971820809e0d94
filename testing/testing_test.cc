// The helpers of testing/ must fail when they should.
#include <cmath>
#include <limits>
#include <vector>

#include "testing/compare.h"
#include "testing/guarded_buffer.h"

namespace pare {
namespace {

using namespace testing_compare;
using testing_memory::GuardedBuffer;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::span<const float> view(const std::vector<float>& v) { return v; }

TEST(AllClose, FailsForOneElementWrongSignNanInfinityAndSize) {
  const Tolerance t{1e-3, 1e-3};
  const std::vector<float> want = {1.0F, -2.0F, 3.0F};
  EXPECT_TRUE(all_close(view({1.0005F, -2.001F, 3.0F}), want, t));
  EXPECT_FALSE(all_close(view({1.0F, -2.0F, 3.1F}), want, t));
  EXPECT_FALSE(all_close(view({1.0F, 2.0F, 3.0F}), want, t));
  EXPECT_FALSE(all_close(view({-1.0F, -2.0F, -3.0F}), want, t));
  EXPECT_FALSE(all_close(view({-1.0F, -2.1F, 3.0F}), view({-1.0F, -2.0F, 3.0F}), t));
  EXPECT_FALSE(all_close(view({kNan, -2.0F, 3.0F}), want, t));
  EXPECT_FALSE(all_close(view({1.0F, -2.0F, 3.0F}), view({1.0F, kNan, 3.0F}), t));
  EXPECT_FALSE(all_close(view({kInfinity, -2.0F, 3.0F}), want, {1e30, 1e30}));
  EXPECT_FALSE(all_close(view({kInfinity}), view({-kInfinity}), t));
  EXPECT_FALSE(all_close(view({1.0F, -2.0F}), want, t));
  EXPECT_TRUE(all_close(view({kNan, kInfinity}), view({kNan, kInfinity}), t));
}

TEST(AllEqual, FailsForOneUnitAndReportsWhere) {
  const std::vector<uint8_t> want = {1, 2, 3, 4};
  const std::vector<uint8_t> got = {1, 2, 4, 4};
  const auto result = all_equal<uint8_t>(got, want);
  ASSERT_FALSE(result);
  EXPECT_STREQ(result.message(), "1 of 4 elements differ; the first, [2], is 4, expected 3");
  EXPECT_FALSE(all_equal<float>(view({std::nextafter(1.0F, 2.0F)}), view({1.0F})));
  EXPECT_FALSE(all_equal<float>(view({kNan}), view({1.0F})));
  EXPECT_TRUE(all_equal<uint8_t>(want, want));
}

TEST(Ulps, CountsStepsBetweenFloats) {
  EXPECT_EQ(ulp_distance(1.0F, std::nextafter(1.0F, 2.0F)), 1);
  EXPECT_EQ(ulp_distance(-0.0F, 0.0F), 0);
  EXPECT_EQ(ulp_distance(std::nextafter(0.0F, -1.0F), std::nextafter(0.0F, 1.0F)), 2);
  EXPECT_GT(ulp_distance(kNan, 1.0F), 1 << 30);
  EXPECT_GT(ulp_distance(-1.0F, 1.0F), 1 << 30);
  EXPECT_FALSE(all_within_ulps(view({1.0F}), view({1.000001F}), 4));
  EXPECT_TRUE(all_within_ulps(view({1.0F}), view({1.0000001F}), 4));
}

TEST(ProductTolerance, GrowsWithTheSumAndTheStoredType) {
  const Tolerance small = product_tolerance(16, 1.0, 1.0, DType::kFloat32);
  const Tolerance large = product_tolerance(1600, 1.0, 2.0, DType::kFloat32);
  EXPECT_NEAR(large.absolute / small.absolute, 200.0, 1e-6);
  EXPECT_LT(large.absolute, 1e-3);  // an error of one whole product is seen
  EXPECT_GT(product_tolerance(16, 1.0, 1.0, DType::kBFloat16).relative, 1e-3);
}

TEST(GuardedBuffer, SeesWhatIsWrittenOrReadOutside) {
  GuardedBuffer buffer(100);
  EXPECT_TRUE(buffer.intact());
  buffer.as<uint8_t>()[0] = 1;
  buffer.as<uint8_t>()[99] = 1;
  EXPECT_TRUE(buffer.intact());
  buffer.as<uint8_t>()[-1] = 1;
  EXPECT_FALSE(buffer.intact());
  GuardedBuffer at_start(100, GuardedBuffer::Edge::kStart);
  at_start.as<uint8_t>()[100] = 1;
  EXPECT_FALSE(at_start.intact());
}

TEST(GuardedBufferDeathTest, OneByteTooManyEndsTheProcess) {
  GuardedBuffer buffer(100);
  EXPECT_DEATH(buffer.as<volatile uint8_t>()[100] = 1, "");
  EXPECT_DEATH(static_cast<void>(buffer.as<volatile uint8_t>()[100]), "");
  GuardedBuffer at_start(100, GuardedBuffer::Edge::kStart);
  EXPECT_DEATH(at_start.as<volatile uint8_t>()[-1] = 1, "");
  GuardedBuffer empty(0);
  EXPECT_DEATH(empty.as<volatile uint8_t>()[0] = 1, "");
}

}  // namespace
}  // namespace pare
