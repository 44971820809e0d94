// What the loader's tests do not see: how an image's draws hang together from epoch to epoch.

#include "data/augment.h"

#include <gtest/gtest.h>

#include <vector>

namespace pare {
namespace {

TEST(Augment, AlternatingFlipShowsBothSidesInTwoEpochs) {
  const ImageShape shape = {1, 1, 2};
  const std::vector<uint8_t> image = {10, 20};
  const AugmentOptions options = {.flip = true, .alternate_flip = true};
  int mirrored_first = 0;
  for (int64_t index = 0; index < 200; ++index) {
    std::vector<std::vector<uint8_t>> seen;
    for (int64_t epoch = 0; epoch < 4; ++epoch) {
      seen.emplace_back(2);
      const ImageDraw draw =
          draw_image(options, {.seed = 3, .epoch = epoch, .index = index}, shape);
      augment_image(pixel_work(options, shape), draw, shape, image, seen.back());
    }
    EXPECT_NE(seen[0], seen[1]);
    EXPECT_EQ(seen[0], seen[2]);
    EXPECT_EQ(seen[1], seen[3]);
    mirrored_first += seen[0] != image ? 1 : 0;
  }
  EXPECT_GT(mirrored_first, 70);
  EXPECT_LT(mirrored_first, 130);
}

}  // namespace
}  // namespace pare
