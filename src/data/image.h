// Pictures from files: decoded, turned upright, resized, cropped.
//
// What comes out is what Pillow's Image.open(...).convert("RGB") gives, which is what training
// frameworks read: grey is repeated in the three channels, transparency is dropped (the colour
// under it stays), 16-bit samples keep their upper byte, CMYK follows Adobe's convention. One thing
// is added: a JPEG's EXIF orientation is followed, so that a telephone's picture stands upright
// (Pillow's ImageOps.exif_transpose).
//
// Files are hostile until decoded: dimensions are read first and refused beyond kMaxImagePixels, or
// when the file is too small to hold them, before memory is taken.
#ifndef PARE_DATA_IMAGE_H_
#define PARE_DATA_IMAGE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pare/status.h"

namespace pare {

struct Image {
  int64_t height = 0;
  int64_t width = 0;
  std::vector<uint8_t> pixels;  // height × width × RGB
};

inline constexpr int64_t kMaxImagePixels = 100'000'000;
inline constexpr int64_t kMaxImageFileBytes = int64_t{512} << 20;

// JPEG or PNG, told by the first bytes, not by the name. Errors name the file; a truncated picture
// is an error.
Result<Image> decode_image(const std::string& path);
Result<Image> decode_image_bytes(std::span<const std::byte> bytes, const std::string& name);

// As an 8-bit RGB file.
Result<std::vector<std::byte>> encode_png(const Image& image);

// Pillow's resize(BILINEAR): a triangle filter as wide as the reduction asks for, horizontally and
// then vertically, 8 bits in between, weights in 22-bit fixed point; equal to Pillow's to the bit.
Image resize_antialias(const Image& image, int64_t height, int64_t width);

// How a picture becomes a network's input.
struct ImageFit {
  int64_t channels = 3;  // 3, or 1: ITU-R BT.601 grey
  int64_t height = 0;
  int64_t width = 0;
  // The shorter side is resized to this, then a centre crop of height × width is taken, both
  // rounded as torchvision does; 0: both sides are resized straight to height × width.
  int64_t resize = 0;
};

// Resizes and crops, and writes planes (CHW): channels × height × width bytes.
Status fit_image(const Image& image, const ImageFit& fit, std::span<uint8_t> dst);
// decode_image() and fit_image(): what `pare run` gives a network.
Status prepare_image(const std::string& path, const ImageFit& fit, std::span<uint8_t> dst);

}  // namespace pare

#endif  // PARE_DATA_IMAGE_H_
