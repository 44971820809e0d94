#include "data/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <set>
#include <thread>

#include "base/rng.h"
#include "data/memory_dataset.h"

namespace pare {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr ImageShape kShape{3, 8, 8};

// Images of random pixels; labels 0 … 3 in turn.
std::shared_ptr<const MemoryDataset> toys(int64_t count) {
  Rng rng(1, RngPurpose::kTest);
  std::vector<uint8_t> pixels(static_cast<size_t>(count * kShape.size()));
  for (uint8_t& p : pixels) p = static_cast<uint8_t>(rng.next_u32());
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < count; ++i) labels.push_back(static_cast<int32_t>(i % 4));
  return *MemoryDataset::create(kShape, pixels, labels, {"a", "b", "c", "d"}, "toys");
}

AugmentOptions everything() {
  AugmentOptions o;
  o.crop_padding = 2;
  o.flip = true;
  o.rotate_degrees = 15;
  o.shift = 0.1F;
  o.scale = 0.1F;
  o.colour = 0.3F;
  o.cutout = 3;
  o.mixup_alpha = 0.8F;
  o.cutmix_alpha = 1.0F;
  o.mix_probability = 0.7F;
  return o;
}

std::vector<Batch> take(const std::shared_ptr<const Dataset>& data, const LoaderOptions& options,
                        int count) {
  auto loader = Loader::create(data, options);
  EXPECT_TRUE(loader.ok()) << loader.status().message();
  std::vector<Batch> batches(static_cast<size_t>(count));
  for (Batch& batch : batches) EXPECT_TRUE((*loader)->next(batch).ok());
  return batches;
}

void expect_equal(const Batch& a, const Batch& b) {
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.index, b.index);
  EXPECT_EQ(a.count, b.count);
  EXPECT_EQ(a.images, b.images);
  EXPECT_EQ(a.labels, b.labels);
  EXPECT_EQ(a.mixed.labels, b.mixed.labels);
  EXPECT_EQ(a.mixed.weights, b.mixed.weights);
  EXPECT_EQ(a.pixels, b.pixels);
}

TEST(Dataset, ReadsImagesOneAfterTheOther) {
  const auto images = toys(5);
  std::vector<uint8_t> pixels(static_cast<size_t>(2 * kShape.size()));
  ASSERT_TRUE(read_images(*images, 3, pixels).ok());
  EXPECT_TRUE(std::ranges::equal(std::span(pixels).first(192), images->image(3)));
  EXPECT_TRUE(std::ranges::equal(std::span(pixels).last(192), images->image(4)));
  EXPECT_FALSE(read_images(*images, 4, pixels).ok());  // there is no sixth
}

TEST(Loader, SharesOfABatchAreTheBatchDealtOutWithItsMixedPairs) {
  const auto data = toys(50);
  LoaderOptions options{
      .batch_size = 11, .seed = 5, .drop_last = false, .augment = everything(), .threads = 2};
  const auto whole = take(data, options, 20);
  bool mixed = false;
  for (const int count : {2, 3, 4, 9}) {
    options.share.count = count;
    std::vector<std::vector<Batch>> shares;
    for (options.share.index = 0; options.share.index < count; ++options.share.index) {
      shares.push_back(take(data, options, 20));
    }
    for (size_t b = 0; b < whole.size(); ++b) {
      std::set<int64_t> seen;
      for (int s = 0; s < count; ++s) {
        const Batch& part = shares[static_cast<size_t>(s)][b];
        const auto places = places_of_share(whole[b].count, {s, count});
        ASSERT_EQ(part.count, static_cast<int64_t>(places.size()));
        EXPECT_EQ(part.whole, whole[b].count);
        for (size_t i = 0; i < places.size(); ++i) {
          const auto at = static_cast<size_t>(places[i]);
          EXPECT_TRUE(seen.insert(places[i]).second);
          EXPECT_EQ(part.images[i], whole[b].images[at]);
          EXPECT_EQ(part.labels[i], whole[b].labels[at]);
          EXPECT_EQ(part.mixed.labels[i], whole[b].mixed.labels[at]);
          EXPECT_EQ(part.mixed.weights[i], whole[b].mixed.weights[at]);
          mixed = mixed || part.mixed.weights[i] > 0;
          const auto bytes = static_cast<size_t>(kShape.size());
          EXPECT_TRUE(std::equal(part.pixels.begin() + static_cast<int64_t>(i * bytes),
                                 part.pixels.begin() + static_cast<int64_t>((i + 1) * bytes),
                                 whole[b].pixels.begin() + static_cast<int64_t>(at * bytes)));
        }
      }
      EXPECT_EQ(static_cast<int64_t>(seen.size()), whole[b].count);
    }
  }
  EXPECT_TRUE(mixed);
  options.share = {3, 3};
  EXPECT_THAT(Loader::create(data, options).status().message(), HasSubstr("no share 3 of 3"));
}

TEST(Loader, SharesDifferByTwoImagesAtMost) {
  for (int64_t images = 0; images < 40; ++images) {
    for (int count = 1; count < 9; ++count) {
      size_t least = 100;
      size_t most = 0;
      for (int s = 0; s < count; ++s) {
        const size_t size = places_of_share(images, {s, count}).size();
        least = std::min(least, size);
        most = std::max(most, size);
      }
      EXPECT_LE(most - least, 2U) << images << " over " << count;
    }
  }
}

TEST(Loader, GivesTheSameStreamForAnyNumberOfThreads) {
  const auto data = toys(50);
  LoaderOptions options{.batch_size = 8, .seed = 5, .augment = everything()};
  const auto one = take(data, options, 20);
  for (const int threads : {2, 5}) {
    options.threads = threads;
    options.prefetch = threads == 2 ? 1 : 7;
    const auto more = take(data, options, 20);
    for (size_t b = 0; b < one.size(); ++b) expect_equal(one[b], more[b]);
  }
  options.seed = 6;
  EXPECT_NE(take(data, options, 1)[0].images, one[0].images);
}

TEST(Loader, ResumesAnywhere) {
  const auto data = toys(50);
  LoaderOptions options{.batch_size = 8, .seed = 5, .augment = everything()};
  const auto whole = take(data, options, 20);  // six batches an epoch
  options.epoch = 2;
  options.batch = 3;
  const auto rest = take(data, options, 5);
  for (size_t b = 0; b < rest.size(); ++b) expect_equal(whole[15 + b], rest[b]);
}

TEST(Loader, EveryEpochHasEveryImageOnceInAnotherOrder) {
  const auto data = toys(10);
  const auto batches = take(data, {.batch_size = 4, .drop_last = false}, 6);
  EXPECT_EQ(batches[2].count, 2);
  EXPECT_EQ(batches[2].pixels.size(), static_cast<size_t>(2 * kShape.size()));
  std::vector<int64_t> orders[2];
  for (size_t b = 0; b < 6; ++b) {
    EXPECT_EQ(batches[b].epoch, static_cast<int64_t>(b / 3));
    auto& order = orders[b / 3];
    order.insert(order.end(), batches[b].images.begin(), batches[b].images.end());
    for (size_t i = 0; i < batches[b].images.size(); ++i) {
      const int64_t image = batches[b].images[i];
      EXPECT_EQ(batches[b].labels[i], image % 4);
      const auto pixels = std::span(batches[b].pixels).subspan(i * 192, 192);
      EXPECT_TRUE(std::equal(pixels.begin(), pixels.end(), data->image(image).begin()));
    }
  }
  EXPECT_NE(orders[0], orders[1]);
  for (auto& order : orders) {
    std::sort(order.begin(), order.end());
    EXPECT_THAT(order, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  }
}

TEST(Loader, WithoutShufflingKeepsTheOrderAndALargeBatchIsCut) {
  const auto batches = take(toys(3), {.batch_size = 100, .shuffle = false}, 2);
  EXPECT_THAT(batches[1].images, ElementsAre(0, 1, 2));
  EXPECT_EQ(batches[1].epoch, 1);
  EXPECT_THAT(batches[0].mixed.weights, Each(0.0F));
  EXPECT_EQ(batches[0].mixed.labels, batches[0].labels);
}

class BrokenImage : public Dataset {
 public:
  int64_t size() const override { return 6; }
  ImageShape image_shape() const override { return {3, 1, 1}; }
  Status read_image(int64_t i, std::span<uint8_t> dst) const override {
    if (i == 3) return corrupt("three.png: broken");
    std::fill(dst.begin(), dst.end(), static_cast<uint8_t>(i));
    return ok_status();
  }
  int32_t label(int64_t) const override { return 0; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::string description() const override { return "broken"; }
  std::string hash() const override { return "0"; }

 private:
  std::vector<std::string> classes_{"a"};
};

TEST(Loader, AnErrorBelongsToItsBatch) {
  auto loader =
      Loader::create(std::make_shared<BrokenImage>(), {.batch_size = 2, .shuffle = false});
  ASSERT_TRUE(loader.ok());
  Batch batch;
  EXPECT_TRUE((*loader)->next(batch).ok());
  EXPECT_EQ((*loader)->next(batch).message(), "three.png: broken");
  EXPECT_TRUE((*loader)->next(batch).ok());
}

TEST(Loader, RefusesOptionsOutOfRange) {
  const auto message = [](const LoaderOptions& options) {
    return Loader::create(toys(4), options).status().message();
  };
  EXPECT_THAT(message({.batch_size = 0}), HasSubstr("batch size 0"));
  EXPECT_THAT(message({.augment = {.crop_padding = 9}}),
              HasSubstr("crop padding is 9, expected 0 to 8"));
  EXPECT_THAT(message({.augment = {.mix_probability = NAN}}), HasSubstr("nan"));
  EXPECT_THAT(message({.epoch = -1}), HasSubstr("epoch -1"));
  EXPECT_FALSE(Loader::create(toys(0), {}).ok());
}

TEST(Loader, StatsSeparateTheSlowSide) {
  auto loader = Loader::create(toys(64), {.batch_size = 8});
  ASSERT_TRUE(loader.ok());
  Batch batch;
  for (int b = 0; b < 10; ++b) {
    ASSERT_TRUE((*loader)->next(batch).ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // a slow trainer
  }
  const LoaderStats stats = (*loader)->stats();
  EXPECT_EQ(stats.batches, 10);
  EXPECT_GE(stats.elapsed_s, 0.05);
  EXPECT_LT(stats.consumer_wait_s, 0.5 * stats.elapsed_s);
  EXPECT_GT(stats.worker_wait_s, stats.worker_busy_s);
}

TEST(Loader, DrawsAloneAreThoseThatThePixelsGet) {
  const auto data = toys(24);
  LoaderOptions options = {.batch_size = 8, .seed = 5};
  options.augment.crop_padding = 2;
  options.augment.flip = true;
  options.augment.rotate_degrees = 20;
  options.augment.colour = 0.3F;
  options.augment.cutout = 3;
  options.augment.cutmix_alpha = 1;
  const auto whole = Loader::create(data, options).value();
  options.pixels = false;
  const auto draws = Loader::create(data, options).value();
  const PixelWork work = pixel_work(options.augment, kShape);
  Batch expected;
  Batch batch;
  for (int k = 0; k < 6; ++k) {
    ASSERT_TRUE(whole->next(expected).ok());
    ASSERT_TRUE(draws->next(batch).ok());
    EXPECT_TRUE(batch.pixels.empty());
    EXPECT_EQ(batch.images, expected.images);
    EXPECT_EQ(batch.mixed.labels, expected.mixed.labels);
    EXPECT_EQ(batch.mixed.weights, expected.mixed.weights);
    std::vector<uint8_t> pixels(expected.pixels.size());
    for (size_t i = 0; i < batch.images.size(); ++i) {
      augment_image(work, batch.draws[i], kShape, data->image(batch.images[i]),
                    std::span(pixels).subspan(i * 192, 192));
    }
    mix_pixels(batch.mix, kShape, pixels);
    EXPECT_EQ(pixels, expected.pixels);
  }
}

// Augmentation of a single image.

std::vector<uint8_t> augmented(const AugmentOptions& options, int64_t index,
                               std::span<const uint8_t> image) {
  std::vector<uint8_t> result(static_cast<size_t>(kShape.size()));
  const ImageDraw draw = draw_image(options, {.seed = 3, .epoch = 1, .index = index}, kShape);
  augment_image(pixel_work(options, kShape), draw, kShape, image, result);
  return result;
}

TEST(Augment, CropGivesEveryShiftOfThePaddedImage) {
  const auto data = toys(1);
  const auto image = data->image(0);
  AugmentOptions options;
  options.crop_padding = 1;
  std::set<std::pair<int, int>> seen;
  for (int64_t k = 0; k < 200; ++k) {
    const auto result = augmented(options, k, image);
    int matches = 0;
    for (int dy = -1; dy <= 1; ++dy) {
      for (int dx = -1; dx <= 1; ++dx) {
        bool same = true;
        for (int c = 0; c < 3; ++c) {
          for (int y = 0; y < 8; ++y) {
            for (int x = 0; x < 8; ++x) {
              const int sy = y + dy;
              const int sx = x + dx;
              const bool inside = sy >= 0 && sy < 8 && sx >= 0 && sx < 8;
              const int expected = inside ? image[static_cast<size_t>(c * 64 + sy * 8 + sx)]
                                          : options.fill[static_cast<size_t>(c)];
              same = same && result[static_cast<size_t>(c * 64 + y * 8 + x)] == expected;
            }
          }
        }
        if (same) seen.insert({dx, dy});
        matches += same ? 1 : 0;
      }
    }
    ASSERT_EQ(matches, 1);
  }
  EXPECT_EQ(seen.size(), 9U);
}

TEST(Augment, FlipMirrorsAboutHalfOfTheImages) {
  const auto data = toys(1);
  const auto image = data->image(0);
  std::vector<uint8_t> mirrored(image.begin(), image.end());
  for (size_t row = 0; row < 24; ++row) {
    std::reverse(mirrored.begin() + static_cast<int64_t>(row) * 8,
                 mirrored.begin() + static_cast<int64_t>(row + 1) * 8);
  }
  AugmentOptions options;
  options.flip = true;
  int flipped = 0;
  for (int64_t k = 0; k < 400; ++k) {
    const auto result = augmented(options, k, image);
    if (result == mirrored) {
      ++flipped;
    } else {
      ASSERT_TRUE(std::equal(result.begin(), result.end(), image.begin()));
    }
  }
  EXPECT_NEAR(flipped, 200, 40);  // four standard deviations
}

// Crop and flip through the sampling path (an affine map of almost nothing) give the same image.
TEST(Augment, AffineAgreesWithCropAndFlip) {
  const auto data = toys(1);
  AugmentOptions plain;
  plain.crop_padding = 2;
  plain.flip = true;
  AugmentOptions sampled = plain;
  sampled.rotate_degrees = 1e-5F;
  for (int64_t k = 0; k < 50; ++k) {
    EXPECT_EQ(augmented(plain, k, data->image(0)), augmented(sampled, k, data->image(0)));
  }
}

// A ramp is turned into the ramp of the turned coordinates: bilinear sampling is exact on it.
TEST(Augment, RotationTurnsARamp) {
  std::vector<uint8_t> ramp(192);
  for (size_t i = 0; i < 192; ++i) ramp[i] = static_cast<uint8_t>(16 * (i % 8) + 4 * (i / 8 % 8));
  AugmentOptions options;
  options.rotate_degrees = 30;
  for (int64_t k = 0; k < 20; ++k) {
    const auto result = augmented(options, k, ramp);
    // The gradient at the centre gives the angle; the value there stays.
    const auto at = [&](size_t y, size_t x) { return static_cast<float>(result[y * 8 + x]); };
    const float gx = (at(3, 4) - at(3, 3) + at(4, 4) - at(4, 3)) / 2.0F;
    const float gy = (at(4, 3) - at(3, 3) + at(4, 4) - at(3, 4)) / 2.0F;
    EXPECT_NEAR(std::hypot(gx, gy), std::hypot(16.0F, 4.0F), 1.5F);
    const float turned = std::atan2(gy, gx) - std::atan2(4.0F, 16.0F);
    EXPECT_LE(std::abs(turned), 30.0F * 3.1416F / 180.0F + 0.1F);
    const float centre = (at(3, 3) + at(3, 4) + at(4, 3) + at(4, 4)) / 4.0F;
    EXPECT_NEAR(centre, 16 * 3.5F + 4 * 3.5F, 1.0F);
  }
}

TEST(Augment, ColourKeepsGreyGreyAndFollowsTheFormula) {
  std::vector<uint8_t> grey(192, 100);
  AugmentOptions options;
  options.colour = 0.4F;
  std::set<int> levels;
  for (int64_t k = 0; k < 50; ++k) {
    const auto result = augmented(options, k, grey);
    EXPECT_THAT(result, Each(result[0]));  // neither contrast nor saturation can change it
    EXPECT_GE(result[0], 60);              // brightness 0.6 … 1.4
    EXPECT_LE(result[0], 140);
    levels.insert(result[0]);
  }
  EXPECT_GT(levels.size(), 20U);
}

TEST(Augment, CutoutFillsASquare) {
  std::vector<uint8_t> image(192, 7);
  AugmentOptions options;
  options.cutout = 3;
  std::set<int64_t> areas;
  for (int64_t k = 0; k < 200; ++k) {
    const auto result = augmented(options, k, image);
    int64_t filled = 0;
    for (size_t i = 0; i < 64; ++i) {
      const bool hole = result[i] != 7;
      filled += hole ? 1 : 0;
      for (size_t c = 0; c < 3; ++c) EXPECT_EQ(result[c * 64 + i], hole ? options.fill[c] : 7);
    }
    areas.insert(filled);
  }
  EXPECT_THAT(areas, ElementsAre(4, 6, 9));  // cut at a corner, at a side, whole
}

TEST(Mix, WeightsOfLabelsAreThoseOfPixels) {
  for (const bool cutmix : {false, true}) {
    AugmentOptions options;
    (cutmix ? options.cutmix_alpha : options.mixup_alpha) = 1.0F;
    double sum = 0;
    for (int64_t k = 0; k < 100; ++k) {
      // Image 0 is black, image 2 white, image 1 its own partner.
      std::vector<uint8_t> pixels(3 * 192, 0);
      std::fill(pixels.begin() + 192, pixels.begin() + 384, uint8_t{9});
      std::fill(pixels.begin() + 384, pixels.end(), uint8_t{255});
      const std::vector<int32_t> labels{0, 1, 2};
      MixedLabels mixed;
      const BatchDraw draw = draw_batch(options, {.seed = 1, .epoch = 0, .index = k}, kShape);
      mix_pixels(draw, kShape, pixels);
      mix_labels(draw, labels, mixed);
      EXPECT_THAT(mixed.labels, ElementsAre(2, 1, 0));
      EXPECT_EQ(mixed.weights[0], mixed.weights[2]);
      EXPECT_EQ(mixed.weights[1], 0.0F);
      const double mean = std::accumulate(pixels.begin(), pixels.begin() + 192, 0.0) / 192 / 255;
      EXPECT_NEAR(mean, mixed.weights[0], 0.003);
      EXPECT_EQ(pixels[200], 9);
      if (cutmix) {
        for (size_t i = 0; i < 192; ++i) EXPECT_TRUE(pixels[i] == 0 || pixels[i] == 255);
      }
      sum += mixed.weights[0];
    }
    EXPECT_GT(sum, cutmix ? 20 : 40);  // uniform weights have mean 1/2; clipping takes some away
    EXPECT_LT(sum, 60);
  }
}

TEST(Mix, HappensAsOftenAsAsked) {
  AugmentOptions options;
  options.mixup_alpha = 1.0F;
  options.cutmix_alpha = 1.0F;
  options.mix_probability = 0.25F;
  int mixed_batches = 0;
  for (int64_t k = 0; k < 400; ++k) {
    const BatchDraw draw = draw_batch(options, {.seed = 1, .epoch = 2, .index = k}, kShape);
    if (draw.kind != BatchDraw::kNone) ++mixed_batches;
  }
  EXPECT_NEAR(mixed_batches, 100, 35);
}

}  // namespace
}  // namespace pare
