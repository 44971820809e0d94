// The one EXIF field that changes how a picture is seen: tag 0x0112, orientation (EXIF 2.3, section
// 4.6.4; TIFF 6.0 for the structure around it).

#include <utility>

#include "data/image_codecs.h"

namespace pare {
namespace {

// Reads numbers of either byte order; anything outside the block reads as 0.
class TiffBlock {
 public:
  explicit TiffBlock(std::span<const std::byte> bytes) : bytes_(bytes) {
    little_ = byte(0) == 'I' && byte(1) == 'I';
    valid_ = (little_ || (byte(0) == 'M' && byte(1) == 'M')) && u16(2) == 42;
  }
  bool valid() const { return valid_; }
  uint32_t u16(size_t at) const {
    return little_ ? byte(at) | byte(at + 1) << 8 : byte(at) << 8 | byte(at + 1);
  }
  uint32_t u32(size_t at) const {
    return little_ ? u16(at) | u16(at + 2) << 16 : u16(at) << 16 | u16(at + 2);
  }

 private:
  uint32_t byte(size_t at) const {
    return at < bytes_.size() ? static_cast<uint32_t>(bytes_[at]) : 0;
  }
  std::span<const std::byte> bytes_;
  bool little_ = false;
  bool valid_ = false;
};

int orientation_of(const TiffBlock& tiff) {
  constexpr uint32_t kOrientationTag = 0x0112;
  constexpr uint32_t kShort = 3;
  if (!tiff.valid()) return 1;
  const size_t directory = tiff.u32(4);
  const uint32_t entries = tiff.u16(directory);
  for (uint32_t e = 0; e < entries; ++e) {
    const size_t entry = directory + 2 + size_t{12} * e;
    if (tiff.u16(entry) != kOrientationTag || tiff.u16(entry + 2) != kShort) continue;
    const uint32_t value = tiff.u16(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace

int exif_orientation(std::span<const std::byte> jpeg) {
  const auto byte = [&](size_t at) { return static_cast<unsigned>(jpeg[at]); };
  size_t at = 2;  // behind the start-of-image marker
  while (at + 4 <= jpeg.size() && byte(at) == 0xFF) {
    const unsigned marker = byte(at + 1);
    const size_t length = byte(at + 2) << 8 | byte(at + 3);                       // counts itself
    if (marker == 0xDA || length < 2 || at + 2 + length > jpeg.size()) return 1;  // scan data
    const auto body = jpeg.subspan(at + 4, length - 2);
    const auto is = [&](size_t i, char c) { return static_cast<char>(body[i]) == c; };
    if (marker == 0xE1 && body.size() > 6 && is(0, 'E') && is(1, 'x') && is(2, 'i') && is(3, 'f')) {
      return orientation_of(TiffBlock(body.subspan(6)));
    }
    at += 2 + length;
  }
  return 1;
}

// Orientations: 2 mirrors, 3 turns by 180°, 4 mirrors top to bottom, 5 transposes, 6 turns by 90°
// clockwise, 7 transposes about the other diagonal, 8 turns by 90° anticlockwise.
Image turn_upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool swapped = orientation >= 5;
  const int64_t h = image.height;
  const int64_t w = image.width;
  Image result{swapped ? w : h, swapped ? h : w, std::vector<uint8_t>(image.pixels.size())};
  for (int64_t y = 0; y < result.height; ++y) {
    for (int64_t x = 0; x < result.width; ++x) {
      int64_t from_y = swapped ? x : y;
      int64_t from_x = swapped ? y : x;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) {
        from_y = h - 1 - from_y;
      }
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) {
        from_x = w - 1 - from_x;
      }
      const uint8_t* src = image.pixels.data() + 3 * (from_y * w + from_x);
      uint8_t* dst = result.pixels.data() + 3 * (y * result.width + x);
      for (int c = 0; c < 3; ++c) dst[c] = src[c];
    }
  }
  return result;
}

}  // namespace pare
