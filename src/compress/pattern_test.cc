#include "compress/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "compress/weight_matrix.h"

namespace pare {
namespace {

using ::testing::HasSubstr;

std::vector<uint8_t> kept(const std::vector<float>& scores, int64_t rows, const char* pattern,
                          int64_t count, bool within_output = false) {
  Removal removal;
  removal.pattern = pattern_from_word(pattern);
  removal.count = count;
  removal.share = static_cast<double>(count) / static_cast<double>(scores.size());
  removal.within_output = within_output;
  return keep_mask(scores, rows, static_cast<int64_t>(scores.size()) / rows, removal);
}

using Flags = std::vector<uint8_t>;

TEST(KeepMask, WithoutPatternTheSmallestGo) {
  const std::vector<float> scores = {1, 9, 2, 8, 3, 3, 3, 7};
  EXPECT_EQ(kept(scores, 2, "none", 0), (Flags{1, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(kept(scores, 2, "none", 4), (Flags{0, 1, 0, 1, 0, 0, 1, 1}));
  EXPECT_EQ(kept(scores, 2, "none", 8), (Flags{0, 0, 0, 0, 0, 0, 0, 0}));
  // Within an output each loses as many; of an odd number the last loses more.
  EXPECT_EQ(kept(scores, 2, "none", 4, true), (Flags{0, 1, 0, 1, 0, 0, 1, 1}));
  const std::vector<float> uneven = {1, 1, 1, 1, 9, 8, 7, 6};
  EXPECT_EQ(kept(uneven, 2, "none", 3, true), (Flags{0, 1, 1, 1, 1, 1, 0, 0}));
}

TEST(KeepMask, FixedPatternsKeepNOfM) {
  const std::vector<float> scores = {1, 9, 2, 8, 3, 3, 3, 7};
  EXPECT_EQ(kept(scores, 1, "2:4", 0), (Flags{0, 1, 0, 1, 0, 0, 1, 1}));
  EXPECT_EQ(kept(scores, 1, "1:4", 0), (Flags{0, 1, 0, 0, 0, 0, 0, 1}));
  EXPECT_EQ(kept(scores, 1, "1:2", 0), (Flags{0, 1, 0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(kept(scores, 1, "2:8", 0), (Flags{0, 1, 0, 1, 0, 0, 0, 0}));
}

// Sums of squares of 4 x 1 blocks: columns 0 … 3 have 4, 36, 100, 1 in the first strip and 400, 0,
// 16, 64 in the second.
TEST(KeepMask, BlocksGoTogether) {
  std::vector<float> scores;
  for (int r = 0; r < 4; ++r) scores.insert(scores.end(), {1, 3, 5, 0.5F});
  for (int r = 0; r < 4; ++r) scores.insert(scores.end(), {10, 0, 2, 4});
  const auto strips = [&](int64_t count, bool within) {
    const Flags flags = kept(scores, 8, "4x1", count, within);
    for (size_t r = 0; r < 8; ++r)
      for (size_t c = 0; c < 4; ++c) EXPECT_EQ(flags[r * 4 + c], flags[r / 4 * 16 + c]);
    return Flags{flags[0],  flags[1],  flags[2],  flags[3],
                 flags[16], flags[17], flags[18], flags[19]};
  };
  EXPECT_EQ(strips(12, false), (Flags{0, 1, 1, 0, 1, 0, 1, 1}));
  EXPECT_EQ(strips(13, false), (Flags{0, 1, 1, 0, 1, 0, 1, 1}));  // to a whole block
  EXPECT_EQ(strips(16, true), (Flags{0, 1, 1, 0, 1, 0, 0, 1}));
}

TEST(KeepMask, BalancedGroupsKeepTheSameNumber) {
  std::vector<float> scores;
  for (int i = 0; i < 2 * 100; ++i) scores.push_back(static_cast<float>(i * 37 % 200));
  const Flags flags = kept(scores, 2, "k:64", 150);  // three quarters: 48 of 64 and 27 of 36
  for (size_t r = 0; r < 2; ++r) {
    int first = 0;
    int last = 0;
    for (size_t c = 0; c < 100; ++c) (c < 64 ? first : last) += flags[r * 100 + c];
    EXPECT_EQ(first, 16);
    EXPECT_EQ(last, 9);
  }
}

TEST(Pattern, SaysWhatDoesNotFit) {
  WeightMatrix conv;  // 10 outputs, 3 channels, 5 x 5
  conv.outputs = 10;
  conv.k = 75;
  conv.taps = 25;
  EXPECT_THAT(pattern_misfit(pattern_from_word("2:4"), conv), HasSubstr("3 input channels"));
  EXPECT_THAT(pattern_misfit(pattern_from_word("4x1"), conv), HasSubstr("10 outputs, not"));
  EXPECT_EQ(pattern_misfit(pattern_from_word("none"), conv), "");
  EXPECT_EQ(pattern_misfit(pattern_from_word("k:64"), conv), "");
  WeightMatrix grouped;
  grouped.outputs = 8;
  grouped.groups = 4;
  grouped.k = 36;
  grouped.taps = 9;
  EXPECT_EQ(pattern_misfit(pattern_from_word("2:4"), grouped), "");
  EXPECT_THAT(pattern_misfit(pattern_from_word("4x1"), grouped), HasSubstr("2 outputs a group"));
  EXPECT_EQ(pattern_count(pattern_from_word("1:4"), 288, 7), 216);
  EXPECT_EQ(pattern_count(pattern_from_word("none"), 288, 7), 7);
}

// A convolution's columns by place in the window, then channel; dense layers whichever way they
// lie.
TEST(WeightMatrix, RowsAndBack) {
  WeightMatrix conv;
  conv.outputs = 2;
  conv.k = 6;
  conv.taps = 3;
  const std::vector<int64_t> order = channels_innermost(conv);
  EXPECT_EQ(order, (std::vector<int64_t>{0, 3, 1, 4, 2, 5}));
  std::vector<float> values;
  for (int i = 0; i < 12; ++i) values.push_back(static_cast<float>(i));
  const Tensor weight = Tensor::from_values<float>({2, 2, 1, 3}, values);
  const std::vector<float> rows = read_rows(weight, conv, order);
  EXPECT_EQ(rows, (std::vector<float>{0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11}));
  EXPECT_EQ(to_float_vector(write_rows<float>(rows, weight, conv, order)), values);
  WeightMatrix dense;
  dense.outputs = 3;
  dense.k = 4;
  dense.k_major = true;
  const Tensor matmul = Tensor::from_values<float>({4, 3}, values);
  const std::vector<int64_t> same = channels_innermost(dense);
  const std::vector<float> by_output = read_rows(matmul, dense, same);
  EXPECT_EQ(by_output, (std::vector<float>{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11}));
  EXPECT_EQ(to_float_vector(write_rows<float>(by_output, matmul, dense, same)), values);
}

}  // namespace
}  // namespace pare
