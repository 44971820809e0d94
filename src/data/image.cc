#include "data/image.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/file.h"
#include "data/image_codecs.h"

namespace pare {
namespace {

// One output pixel of a resampling: the first input pixel it reads, and its weights in 1 / 2^22.
constexpr int kWeightBits = 22;
struct Tap {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

// The triangle filter: 1 - |x| within one pixel, stretched by the reduction (never shrunk).
std::vector<Tap> triangle_taps(int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(1.0, scale);
  std::vector<Tap> taps(static_cast<size_t>(out));
  std::vector<double> weights;
  for (int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<int64_t>(0, static_cast<int64_t>(centre - stretch + 0.5));
    const auto last = std::min(in, static_cast<int64_t>(centre + stretch + 0.5));
    weights.clear();
    double sum = 0;
    for (int64_t k = first; k < last; ++k) {
      const double x = std::abs((static_cast<double>(k) - centre + 0.5) * (1.0 / stretch));
      weights.push_back(x < 1.0 ? 1.0 - x : 0.0);
      sum += weights.back();
    }
    Tap& tap = taps[static_cast<size_t>(i)];
    tap.first = first;
    for (const double w : weights) {
      tap.weights.push_back(static_cast<int32_t>(0.5 + w / sum * (1 << kWeightBits)));
    }
  }
  return taps;
}

uint8_t clip(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255)); }

// Rows of `in` become rows of `out_width` pixels.
Image resize_rows(const Image& in, int64_t out_width) {
  const auto taps = triangle_taps(in.width, out_width);
  Image out{in.height, out_width,
            std::vector<uint8_t>(static_cast<size_t>(in.height * out_width * 3))};
  for (int64_t y = 0; y < in.height; ++y) {
    const uint8_t* row = in.pixels.data() + y * in.width * 3;
    uint8_t* dst = out.pixels.data() + y * out_width * 3;
    for (const Tap& tap : taps) {
      int32_t sums[3] = {1 << (kWeightBits - 1), 1 << (kWeightBits - 1), 1 << (kWeightBits - 1)};
      const uint8_t* src = row + tap.first * 3;
      for (const int32_t w : tap.weights) {
        for (int c = 0; c < 3; ++c) sums[c] += w * src[c];
        src += 3;
      }
      for (const int32_t sum : sums) *dst++ = clip(sum);
    }
  }
  return out;
}

Image resize_columns(const Image& in, int64_t out_height) {
  const auto taps = triangle_taps(in.height, out_height);
  const int64_t stride = in.width * 3;
  Image out{out_height, in.width, std::vector<uint8_t>(static_cast<size_t>(out_height * stride))};
  std::vector<int32_t> sums(static_cast<size_t>(stride));
  uint8_t* dst = out.pixels.data();
  for (const Tap& tap : taps) {
    std::fill(sums.begin(), sums.end(), 1 << (kWeightBits - 1));
    const uint8_t* src = in.pixels.data() + tap.first * stride;
    for (const int32_t w : tap.weights) {
      for (int64_t x = 0; x < stride; ++x) sums[static_cast<size_t>(x)] += w * src[x];
      src += stride;
    }
    for (const int32_t sum : sums) *dst++ = clip(sum);
  }
  return out;
}

bool begins_with(std::span<const std::byte> bytes, std::initializer_list<int> magic) {
  return bytes.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), bytes.begin(),
                    [](int a, std::byte b) { return a == static_cast<int>(b); });
}

// Half a pixel more on one side: Python's round(), ties to even, as torchvision's centre crop.
int64_t crop_begin(int64_t size, int64_t crop) {
  return static_cast<int64_t>(std::nearbyint(static_cast<double>(size - crop) / 2.0));
}

}  // namespace

Status check_image_size(const std::string& name, int64_t height, int64_t width, size_t file_bytes,
                        int64_t pixels_per_byte) {
  if (height < 1 || width < 1) {
    return corrupt(fmt::format("{}: an image of {}x{} pixels", name, width, height));
  }
  if (height > kMaxImagePixels / width) {
    return unsupported(fmt::format("{}: {}x{} pixels, more than the {} million that are accepted",
                                   name, width, height, kMaxImagePixels / 1'000'000));
  }
  if (height * width / pixels_per_byte > static_cast<int64_t>(file_bytes)) {
    return corrupt(
        fmt::format("{}: {} bytes cannot hold {}x{} pixels", name, file_bytes, width, height));
  }
  return ok_status();
}

Result<Image> decode_image_bytes(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.empty()) return corrupt(name + ": an empty file, expected a JPEG or PNG image");
  if (begins_with(bytes, {0xFF, 0xD8, 0xFF})) return decode_jpeg(bytes, name);
  if (begins_with(bytes, {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'})) {
    return decode_png(bytes, name);
  }
  return unsupported(name + ": neither a JPEG nor a PNG image");
}

Result<Image> decode_image(const std::string& path) {
  PARE_ASSIGN_OR_RETURN(const auto bytes, read_file(path, kMaxImageFileBytes));
  return decode_image_bytes(bytes, path);
}

Image resize_antialias(const Image& image, int64_t height, int64_t width) {
  const bool rows = width != image.width;
  const bool columns = height != image.height;
  if (!rows && !columns) return image;
  if (!columns) return resize_rows(image, width);
  if (!rows) return resize_columns(image, height);
  return resize_columns(resize_rows(image, width), height);
}

Status fit_image(const Image& image, const ImageFit& fit, std::span<uint8_t> dst) {
  if ((fit.channels != 1 && fit.channels != 3) || fit.height < 1 || fit.width < 1 ||
      fit.height * fit.width > kMaxImagePixels) {
    return invalid_argument(fmt::format("images cannot be made {}x{}x{}: expected 1 or 3 channels",
                                        fit.channels, fit.height, fit.width));
  }
  if (fit.resize != 0 && fit.resize < std::max(fit.height, fit.width)) {
    return invalid_argument(fmt::format("a shorter side of {} cannot give a crop of {}x{}",
                                        fit.resize, fit.height, fit.width));
  }
  if (dst.size() < static_cast<size_t>(fit.channels * fit.height * fit.width)) {
    return invalid_argument(fmt::format("{} bytes for an image of {}x{}x{}", dst.size(),
                                        fit.channels, fit.height, fit.width));
  }
  int64_t height = fit.height;
  int64_t width = fit.width;
  if (fit.resize != 0) {
    const int64_t shorter = std::min(image.height, image.width);
    height = image.height == shorter ? fit.resize : fit.resize * image.height / shorter;
    width = image.width == shorter ? fit.resize : fit.resize * image.width / shorter;
  }
  if (std::max(height, image.height) > kMaxImagePixels / width) {
    return unsupported(fmt::format("an image of {}x{} pixels is too narrow to be resized to {}x{}",
                                   image.width, image.height, width, height));
  }
  const Image resized = resize_antialias(image, height, width);
  const int64_t top = crop_begin(height, fit.height);
  const int64_t left = crop_begin(width, fit.width);
  const int64_t plane = fit.height * fit.width;
  for (int64_t y = 0; y < fit.height; ++y) {
    const uint8_t* src = resized.pixels.data() + 3 * ((top + y) * width + left);
    uint8_t* out = dst.data() + y * fit.width;
    for (int64_t x = 0; x < fit.width; ++x, src += 3) {
      if (fit.channels == 1) {  // 0.299 R + 0.587 G + 0.114 B in 1 / 2^16, as Pillow's "L"
        out[x] =
            static_cast<uint8_t>((src[0] * 19595 + src[1] * 38470 + src[2] * 7471 + 32768) >> 16);
      } else {
        for (int64_t c = 0; c < 3; ++c) out[c * plane + x] = src[c];
      }
    }
  }
  return ok_status();
}

Status prepare_image(const std::string& path, const ImageFit& fit, std::span<uint8_t> dst) {
  PARE_ASSIGN_OR_RETURN(const Image image, decode_image(path));
  return fit_image(image, fit, dst).with_context(path);
}

}  // namespace pare
