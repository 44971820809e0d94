#include "data/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "base/file.h"
#include "base/rng.h"
#include "data/image_codecs.h"
#include "testing/files.h"

namespace pare {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::StartsWith;
using testing_files::fixture_path;
using testing_files::TemporaryFolder;

std::string image_path(const std::string& name) { return fixture_path("data/images/" + name); }

// Netpbm's binary P6 (or P5 with one channel).
Image read_ppm(const std::string& name) {
  const auto text = read_text_file(image_path(name));
  EXPECT_TRUE(text.ok()) << text.status().message();
  std::istringstream in(*text);
  std::string magic;
  Image image;
  int largest = 0;
  in >> magic >> image.width >> image.height >> largest;
  in.get();
  const auto begin = text->begin() + static_cast<int64_t>(in.tellg());
  image.pixels.assign(begin, text->end());
  EXPECT_EQ(image.pixels.size(),
            static_cast<size_t>(image.height * image.width * (magic == "P6" ? 3 : 1)));
  return image;
}

int largest_difference(const Image& a, const Image& b) {
  EXPECT_EQ(a.height, b.height);
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.pixels.size(), b.pixels.size());
  int largest = 0;
  for (size_t i = 0; i < std::min(a.pixels.size(), b.pixels.size()); ++i) {
    largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
  }
  return largest;
}

std::vector<std::byte> file_bytes(const std::string& name) {
  auto bytes = read_file(image_path(name), 1 << 20);
  EXPECT_TRUE(bytes.ok());
  return *bytes;
}

class EveryPicture : public testing::TestWithParam<const char*> {};

// PNG has one right answer; two JPEG decoders may differ by a level.
TEST_P(EveryPicture, IsReadAsPillowReadsIt) {
  const std::string name = GetParam();
  const auto image = decode_image(image_path(name));
  ASSERT_TRUE(image.ok()) << image.status().message();
  const bool png = name.ends_with(".png");
  const Image expected = read_ppm(name.substr(0, name.find('.')) + ".ppm");
  EXPECT_LE(largest_difference(*image, expected), png ? 0 : 1);
}

TEST_P(EveryPicture, TruncatedIsAnError) {
  const auto bytes = file_bytes(GetParam());
  for (size_t n = 0; n + 12 < bytes.size(); n += n < 64 ? 1 : 13) {
    const auto image = decode_image_bytes(std::span(bytes).first(n), "cut");
    ASSERT_FALSE(image.ok()) << n << " of " << bytes.size() << " bytes";
    ASSERT_THAT(image.status().message(), StartsWith("cut: "));
  }
}

// Whatever the bytes, the answer is an image of its own size or an error.
TEST_P(EveryPicture, MutatedNeverHarms) {
  const auto bytes = file_bytes(GetParam());
  Rng rng(11, RngPurpose::kTest);
  for (int trial = 0; trial < 60; ++trial) {
    auto changed = bytes;
    for (int k = 0; k < 4; ++k) {
      changed[rng.below(changed.size())] = static_cast<std::byte>(rng.next_u32());
    }
    const auto image = decode_image_bytes(changed, "changed");
    if (image.ok()) {
      EXPECT_EQ(image->pixels.size(), static_cast<size_t>(image->height * image->width * 3));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryPicture,
                         testing::Values("photo.png", "rgba.png", "grey.png", "grey_alpha.png",
                                         "palette.png", "palette_clear.png", "bits.png",
                                         "interlaced.png", "deep.png", "jpeg_420.jpg",
                                         "jpeg_444.jpg", "jpeg_progressive.jpg", "jpeg_grey.jpg",
                                         "jpeg_cmyk.jpg", "exif_1.jpg", "exif_2.jpg", "exif_3.jpg",
                                         "exif_4.jpg", "exif_5.jpg", "exif_6.jpg", "exif_7.jpg",
                                         "exif_8.jpg"),
                         [](const testing::TestParamInfo<const char*>& picture) {
                           return std::string(picture.param, std::strchr(picture.param, '.'));
                         });

TEST(Resize, EqualsPillowToTheBit) {
  const auto photo = decode_image(image_path("photo.png"));
  ASSERT_TRUE(photo.ok());
  const std::pair<int, int> sizes[] = {{23, 11}, {9, 37}, {8, 8}, {50, 60}, {1, 1}, {224, 5}};
  for (const auto& [h, w] : sizes) {
    const std::string name = "resized_" + std::to_string(h) + "x" + std::to_string(w) + ".ppm";
    EXPECT_EQ(largest_difference(resize_antialias(*photo, h, w), read_ppm(name)), 0) << name;
  }
}

// CHW planes back to an Image, for comparison.
Image from_planes(const std::vector<uint8_t>& planes, int64_t h, int64_t w) {
  Image image{h, w, {}};
  for (int64_t i = 0; i < h * w; ++i) {
    for (int64_t c = 0; c < 3; ++c) {
      image.pixels.push_back(planes[static_cast<size_t>(c * h * w + i)]);
    }
  }
  return image;
}

TEST(FitImage, ResizesTheShorterSideAndCropsTheCentre) {
  std::vector<uint8_t> planes(3 * 12 * 12);
  ASSERT_TRUE(
      prepare_image(image_path("photo.png"), {.height = 12, .width = 12, .resize = 16}, planes)
          .ok());
  EXPECT_EQ(largest_difference(from_planes(planes, 12, 12), read_ppm("fitted_16_12x12.ppm")), 0);
  planes.resize(3 * 8 * 8);
  ASSERT_TRUE(prepare_image(image_path("photo.png"), {.height = 8, .width = 8}, planes).ok());
  EXPECT_EQ(largest_difference(from_planes(planes, 8, 8), read_ppm("resized_8x8.ppm")), 0);
}

TEST(FitImage, MakesGrey) {
  std::vector<uint8_t> grey(23 * 37);
  ASSERT_TRUE(
      prepare_image(image_path("photo.png"), {.channels = 1, .height = 23, .width = 37}, grey)
          .ok());
  EXPECT_EQ(grey, read_ppm("photo_grey.pgm").pixels);
}

TEST(FitImage, RefusesTheImpossible) {
  std::vector<uint8_t> room(300);
  const Image image{2, 2, std::vector<uint8_t>(12)};
  EXPECT_TRUE(fit_image(image, {.height = 10, .width = 10}, room).ok());
  EXPECT_FALSE(fit_image(image, {.height = 10, .width = 11}, room).ok());
  EXPECT_FALSE(fit_image(image, {.channels = 2, .height = 5, .width = 5}, room).ok());
  EXPECT_FALSE(fit_image(image, {.height = 0, .width = 5}, room).ok());
  EXPECT_THAT(fit_image(image, {.height = 10, .width = 10, .resize = 9}, room).message(),
              HasSubstr("cannot give a crop of 10x10"));
  const Image thread{1, 1'000'000, std::vector<uint8_t>(3'000'000)};
  EXPECT_THAT(fit_image(thread, {.height = 10, .width = 10, .resize = 224}, room).message(),
              HasSubstr("too narrow"));
}

TEST(DecodeImage, NamesWhatItIsNot) {
  TemporaryFolder folder;
  EXPECT_EQ(decode_image(folder.path("none.jpg")).status().code(), StatusCode::kNotFound);
  ASSERT_TRUE(write_file(folder.path("empty.png"), "").ok());
  EXPECT_THAT(decode_image(folder.path("empty.png")).status().message(),
              AllOf(HasSubstr("empty.png"), HasSubstr("an empty file")));
  ASSERT_TRUE(write_file(folder.path("gif.png"), "GIF89a...").ok());
  EXPECT_THAT(decode_image(folder.path("gif.png")).status().message(),
              HasSubstr("neither a JPEG nor a PNG"));
  EXPECT_FALSE(decode_image(folder.path()).ok());
}

uint32_t crc32_of(std::span<const std::byte> bytes) {
  uint32_t crc = 0xFFFFFFFFU;
  for (const std::byte b : bytes) {
    crc ^= static_cast<uint32_t>(b);
    for (int k = 0; k < 8; ++k) crc = crc & 1U ? crc >> 1 ^ 0xEDB88320U : crc >> 1;
  }
  return ~crc;
}

// Headers that claim a gigapixel, in files of some hundred bytes.
TEST(DecodeImage, BombsAreRefusedBeforeMemoryIsTaken) {
  auto png = file_bytes("photo.png");
  const auto set_png_side = [&](size_t at, uint32_t value) {
    for (size_t k = 0; k < 4; ++k) png[at + k] = static_cast<std::byte>(value >> (24 - 8 * k));
  };
  const auto seal_header = [&] {
    const uint32_t crc = crc32_of(std::span(png).subspan(12, 17));
    set_png_side(29, crc);
  };
  set_png_side(16, 1'000'000);
  set_png_side(20, 1'000'000);
  seal_header();
  EXPECT_THAT(decode_image_bytes(png, "bomb").status().message(),
              HasSubstr("1000000x1000000 pixels, more than the 100 million"));
  set_png_side(16, 10'000);
  set_png_side(20, 10'000);
  seal_header();
  EXPECT_THAT(decode_image_bytes(png, "bomb").status().message(),
              HasSubstr("bytes cannot hold 10000x10000 pixels"));

  auto jpeg = file_bytes("jpeg_420.jpg");
  size_t frame = 0;
  while (jpeg[frame] != std::byte{0xFF} || jpeg[frame + 1] != std::byte{0xC0}) ++frame;
  for (size_t k = 5; k < 9; ++k) jpeg[frame + k] = std::byte{0xF0};
  EXPECT_THAT(decode_image_bytes(jpeg, "bomb").status().message(), HasSubstr("61680x61680 pixels"));
}

TEST(EncodePng, IsReadBackToTheByte) {
  Image image{3, 5, {}};
  for (int i = 0; i < 45; ++i) image.pixels.push_back(static_cast<uint8_t>(i * 37 % 256));
  const auto png = encode_png(image);
  ASSERT_TRUE(png.ok()) << png.status().message();
  const auto back = decode_image_bytes(*png, "written.png");
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(back->height, 3);
  EXPECT_EQ(back->width, 5);
  EXPECT_EQ(back->pixels, image.pixels);
}

TEST(EncodePng, RefusesAPictureThatIsNone) {
  EXPECT_FALSE(encode_png({}).ok());
  EXPECT_FALSE(encode_png({2, 2, std::vector<uint8_t>(11)}).ok());
}

TEST(Exif, EveryBrokenBlockMeansUpright) {
  const auto bytes = file_bytes("exif_6.jpg");
  EXPECT_EQ(exif_orientation(bytes), 6);
  for (size_t n = 2; n < 40; ++n) {
    EXPECT_THAT(exif_orientation(std::span(bytes).first(n)), AnyOf(1, 6));
  }
  Rng rng(3, RngPurpose::kTest);
  for (int trial = 0; trial < 2000; ++trial) {
    auto changed = bytes;
    for (int k = 0; k < 3; ++k) changed[2 + rng.below(60)] = static_cast<std::byte>(rng.next_u32());
    const int orientation = exif_orientation(changed);
    EXPECT_GE(orientation, 1);
    EXPECT_LE(orientation, 8);
  }
}

}  // namespace
}  // namespace pare
