#include "models/whitening.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "models/models.h"

namespace pare {
namespace {

constexpr int64_t kSide = 12;
constexpr int64_t kCount = 40;

// Pixels that hang together: each row a random walk, the channels nearly alike.
std::vector<uint8_t> images() {
  std::vector<uint8_t> pixels;
  for (int64_t i = 0; i < kCount; ++i) {
    Rng rng(1, RngPurpose::kTest, static_cast<uint64_t>(i));
    for (int64_t row = 0; row < 3 * kSide; ++row) {
      float value = 128;
      for (int64_t x = 0; x < kSide; ++x) {
        value = std::clamp(value + 30 * rng.normal(), 0.0F, 255.0F);
        pixels.push_back(static_cast<uint8_t>(value));
      }
    }
  }
  return pixels;
}

Graph net(int64_t size = 32) {
  return build_model("speedrun", {.image_size = size, .training_form = true}).value();
}

// Second moments of the filters' answers to all patches: about 1 on the diagonal, 0 beside it.
TEST(Whitening, AnswersAreUncorrelatedAndOfEqualSize) {
  const std::vector<uint8_t> pixels = images();
  Graph graph = net();
  const WhiteningImages given = {
      .pixels = pixels, .count = kCount, .height = kSide, .width = kSide};
  ASSERT_TRUE(whiten_first_convolution(graph, given).ok());
  const auto w = graph.initializers.at("whiten.weight").values<float>();
  const auto scale = graph.initializers.at("preprocess.scale").values<float>();
  const auto shift = graph.initializers.at("preprocess.shift").values<float>();
  constexpr size_t kD = 12;
  std::vector<double> moments(kD * kD);
  int64_t patches = 0;
  for (int64_t i = 0; i < kCount; ++i) {
    for (int64_t y = 0; y + 1 < kSide; ++y) {
      for (int64_t x = 0; x + 1 < kSide; ++x, ++patches) {
        std::array<double, kD> patch{};
        for (size_t k = 0; k < kD; ++k) {
          const size_t c = k / 4;
          const int64_t row =
              (i * 3 + static_cast<int64_t>(c)) * kSide + y + static_cast<int64_t>(k / 2 % 2);
          const int64_t at = row * kSide + x + static_cast<int64_t>(k % 2);
          patch[k] = scale[c] * pixels[static_cast<size_t>(at)] + shift[c];
        }
        std::array<double, kD> answer{};
        for (size_t o = 0; o < kD; ++o) {
          for (size_t k = 0; k < kD; ++k) answer[o] += w[o * kD + k] * patch[k];
        }
        for (size_t o = 0; o < kD * kD; ++o) moments[o] += answer[o / kD] * answer[o % kD];
      }
    }
  }
  for (size_t o = 0; o < kD * kD; ++o) {
    const double expected = o / kD == o % kD ? 1.0 : 0.0;
    EXPECT_NEAR(moments[o] / static_cast<double>(patches), expected, 0.02) << o;
  }
  for (size_t k = 0; k < kD * kD; ++k) EXPECT_EQ(w[kD * kD + k], -w[k]);
}

TEST(Whitening, NeedsAConvolutionThatCanWhiten) {
  const std::vector<uint8_t> pixels = images();
  const WhiteningImages given = {
      .pixels = pixels, .count = kCount, .height = kSide, .width = kSide};
  const auto message = [&](Graph graph, WhiteningImages use) {
    return whiten_first_convolution(graph, use).message();
  };
  EXPECT_THAT(message(build_model("wrn-16-8", {.zero_weights = true}).value(), given),
              testing::HasSubstr("'conv1', weights 16x3x3x3, cannot whiten"));
  Graph other = net();
  other.nodes.erase(other.nodes.begin(), other.nodes.begin() + 3);
  other.nodes[0].inputs[0] = "input";
  EXPECT_THAT(message(other, given), testing::HasSubstr("does not begin with normalisation"));
  WhiteningImages few = given;
  few.count = kCount + 1;
  EXPECT_THAT(message(net(), few), testing::HasSubstr("41 images of 432 bytes expected"));
}

}  // namespace
}  // namespace pare
