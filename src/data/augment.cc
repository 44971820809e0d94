#include "data/augment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "base/rng.h"

namespace pare {
namespace {

// Everything that is drawn for one image, in this order, whether used or not: switching one kind of
// augmentation on does not change what the others draw.
struct Draw {
  int64_t dx, dy;
  bool mirrored;
  float angle, shift_x, shift_y, scale;
  float brightness, contrast, saturation;
  int64_t hole_x, hole_y;
};

Draw draw_for(const AugmentOptions& o, const AugmentKey& key, const ImageShape& shape) {
  Rng rng(key.seed, RngPurpose::kAugment, static_cast<uint64_t>(key.index),
          static_cast<uint32_t>(key.epoch));
  Draw d{};
  const auto offsets = static_cast<uint64_t>(2 * o.crop_padding + 1);
  d.dx = static_cast<int64_t>(rng.below(offsets)) - o.crop_padding;
  d.dy = static_cast<int64_t>(rng.below(offsets)) - o.crop_padding;
  d.mirrored = rng.bernoulli(0.5F) && o.flip;
  d.angle = rng.uniform(-1.0F, 1.0F) * o.rotate_degrees * std::numbers::pi_v<float> / 180.0F;
  d.shift_x = rng.uniform(-1.0F, 1.0F) * o.shift * static_cast<float>(shape.width);
  d.shift_y = rng.uniform(-1.0F, 1.0F) * o.shift * static_cast<float>(shape.height);
  d.scale = 1.0F + rng.uniform(-1.0F, 1.0F) * o.scale;
  d.brightness = 1.0F + rng.uniform(-1.0F, 1.0F) * o.colour;
  d.contrast = 1.0F + rng.uniform(-1.0F, 1.0F) * o.colour;
  d.saturation = 1.0F + rng.uniform(-1.0F, 1.0F) * o.colour;
  d.hole_x = static_cast<int64_t>(rng.below(static_cast<uint64_t>(shape.width)));
  d.hole_y = static_cast<int64_t>(rng.below(static_cast<uint64_t>(shape.height)));
  return d;
}

uint8_t fill_of(const AugmentOptions& o, int64_t channel) {
  return o.fill[static_cast<size_t>(channel % 3)];
}

// dst(y, x) = src(y + dy, x' + dx), x' mirrored or not.
void crop_and_flip(const AugmentOptions& o, const Draw& d, const ImageShape& s, const uint8_t* src,
                   uint8_t* dst) {
  const int64_t first = std::max<int64_t>(0, -d.dx);
  const int64_t last = std::min(s.width, s.width - d.dx);  // columns first … last-1 are inside
  for (int64_t c = 0; c < s.channels; ++c) {
    for (int64_t y = 0; y < s.height; ++y) {
      uint8_t* row = dst + (c * s.height + y) * s.width;
      std::memset(row, fill_of(o, c), static_cast<size_t>(s.width));
      const int64_t from_y = y + d.dy;
      if (from_y < 0 || from_y >= s.height || last <= first) continue;
      const uint8_t* from = src + (c * s.height + from_y) * s.width;
      std::memcpy(row + first, from + first + d.dx, static_cast<size_t>(last - first));
      if (d.mirrored) std::reverse(row, row + s.width);
    }
  }
}

// The four pixels about a point and their weights; sums of weights are 2^16.
struct Taps {
  int64_t x, y;
  int wx, wy;  // in 1/256: share of the right, the lower pixel

  // Near the border: pixels outside count as `fill`.
  int at(const uint8_t* plane, const ImageShape& s, int fill, int64_t px, int64_t py) const {
    return px < 0 || py < 0 || px >= s.width || py >= s.height ? fill : plane[py * s.width + px];
  }
  uint8_t sample(const uint8_t* plane, const ImageShape& s, int fill) const {
    int p00, p01, p10, p11;
    if (x >= 0 && y >= 0 && x + 1 < s.width && y + 1 < s.height) {
      const uint8_t* p = plane + y * s.width + x;
      p00 = p[0];
      p01 = p[1];
      p10 = p[s.width];
      p11 = p[s.width + 1];
    } else {
      p00 = at(plane, s, fill, x, y);
      p01 = at(plane, s, fill, x + 1, y);
      p10 = at(plane, s, fill, x, y + 1);
      p11 = at(plane, s, fill, x + 1, y + 1);
    }
    const int upper = p00 * (256 - wx) + p01 * wx;
    const int lower = p10 * (256 - wx) + p11 * wx;
    return static_cast<uint8_t>((upper * (256 - wy) + lower * wy + (1 << 15)) >> 16);
  }
};

// The inverse map: a point of the result, from the centre, is turned, scaled and shifted back.
void affine(const AugmentOptions& o, const Draw& d, const ImageShape& s, const uint8_t* src,
            uint8_t* dst) {
  const float cx = static_cast<float>(s.width - 1) / 2.0F;
  const float cy = static_cast<float>(s.height - 1) / 2.0F;
  const float cosine = std::cos(d.angle) / d.scale;
  const float sine = std::sin(d.angle) / d.scale;
  const int64_t plane = s.height * s.width;
  for (int64_t y = 0; y < s.height; ++y) {
    for (int64_t x = 0; x < s.width; ++x) {
      const int64_t column = (d.mirrored ? s.width - 1 - x : x) + d.dx;
      const float u = static_cast<float>(column) - cx - d.shift_x;
      const float v = static_cast<float>(y + d.dy) - cy - d.shift_y;
      const auto fx = static_cast<int64_t>(std::lrint((cosine * u + sine * v + cx) * 256.0F));
      const auto fy = static_cast<int64_t>(std::lrint((cosine * v - sine * u + cy) * 256.0F));
      const Taps taps{fx >> 8, fy >> 8, static_cast<int>(fx & 255), static_cast<int>(fy & 255)};
      for (int64_t c = 0; c < s.channels; ++c) {
        dst[c * plane + y * s.width + x] = taps.sample(src + c * plane, s, fill_of(o, c));
      }
    }
  }
}

uint8_t to_byte(float x) {
  return static_cast<uint8_t>(std::min(255.0F, std::max(0.0F, x)) + 0.5F);
}

// Three channels; the formula of augment.h with ITU-R BT.601 grey.
void colour(const Draw& d, const ImageShape& s, uint8_t* pixels) {
  const int64_t plane = s.height * s.width;
  uint8_t* r = pixels;
  uint8_t* g = pixels + plane;
  uint8_t* b = pixels + 2 * plane;
  int64_t sums[3] = {0, 0, 0};
  for (int64_t i = 0; i < plane; ++i) {
    sums[0] += r[i];
    sums[1] += g[i];
    sums[2] += b[i];
  }
  const float mean = (0.299F * static_cast<float>(sums[0]) + 0.587F * static_cast<float>(sums[1]) +
                      0.114F * static_cast<float>(sums[2])) /
                     static_cast<float>(plane);
  const float own = d.saturation * d.contrast * d.brightness;
  const float of_grey = (1.0F - d.saturation) * d.contrast * d.brightness;
  const float offset = (1.0F - d.contrast) * d.brightness * mean;
  for (int64_t i = 0; i < plane; ++i) {
    const float grey = 0.299F * static_cast<float>(r[i]) + 0.587F * static_cast<float>(g[i]) +
                       0.114F * static_cast<float>(b[i]);
    const float common = of_grey * grey + offset;
    r[i] = to_byte(own * static_cast<float>(r[i]) + common);
    g[i] = to_byte(own * static_cast<float>(g[i]) + common);
    b[i] = to_byte(own * static_cast<float>(b[i]) + common);
  }
}

void cutout(const AugmentOptions& o, const Draw& d, const ImageShape& s, uint8_t* pixels) {
  const int64_t left = std::max<int64_t>(0, d.hole_x - o.cutout / 2);
  const int64_t top = std::max<int64_t>(0, d.hole_y - o.cutout / 2);
  const int64_t right = std::min(s.width, d.hole_x - o.cutout / 2 + o.cutout);
  const int64_t bottom = std::min(s.height, d.hole_y - o.cutout / 2 + o.cutout);
  for (int64_t c = 0; c < s.channels; ++c) {
    for (int64_t y = top; y < bottom; ++y) {
      std::memset(pixels + (c * s.height + y) * s.width + left, fill_of(o, c),
                  static_cast<size_t>(right - left));
    }
  }
}

// Both images of a pair at once: x' = (w x + (256 - w) y) / 256 and the other way round.
void mix_pair(int w, uint8_t* a, uint8_t* b, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const int x = a[i];
    const int y = b[i];
    a[i] = static_cast<uint8_t>((w * x + (256 - w) * y + 128) >> 8);
    b[i] = static_cast<uint8_t>((w * y + (256 - w) * x + 128) >> 8);
  }
}

struct Rectangle {
  int64_t left, top, right, bottom;
};

Rectangle draw_rectangle(Rng& rng, float area_share, const ImageShape& s) {
  const float side = std::sqrt(area_share);
  const auto w = std::lrint(side * static_cast<float>(s.width));
  const auto h = std::lrint(side * static_cast<float>(s.height));
  const auto x = static_cast<int64_t>(rng.below(static_cast<uint64_t>(s.width)));
  const auto y = static_cast<int64_t>(rng.below(static_cast<uint64_t>(s.height)));
  return {std::max<int64_t>(0, x - w / 2), std::max<int64_t>(0, y - h / 2),
          std::min<int64_t>(s.width, x - w / 2 + w), std::min<int64_t>(s.height, y - h / 2 + h)};
}

void swap_rectangle(const Rectangle& r, const ImageShape& s, uint8_t* a, uint8_t* b) {
  for (int64_t c = 0; c < s.channels; ++c) {
    for (int64_t y = r.top; y < r.bottom; ++y) {
      const int64_t row = (c * s.height + y) * s.width;
      std::swap_ranges(a + row + r.left, a + row + r.right, b + row + r.left);
    }
  }
}

}  // namespace

void augment_image(const AugmentOptions& options, const AugmentKey& key, const ImageShape& shape,
                   std::span<const uint8_t> src, std::span<uint8_t> dst) {
  const Draw d = draw_for(options, key, shape);
  if (options.rotate_degrees != 0 || options.shift != 0 || options.scale != 0) {
    affine(options, d, shape, src.data(), dst.data());
  } else if (options.crop_padding != 0 || options.flip) {
    crop_and_flip(options, d, shape, src.data(), dst.data());
  } else {
    std::memcpy(dst.data(), src.data(), static_cast<size_t>(shape.size()));
  }
  if (options.colour != 0 && shape.channels == 3) colour(d, shape, dst.data());
  if (options.cutout != 0) cutout(options, d, shape, dst.data());
}

// Image i is paired with image count-1-i: the order is random already, and pairs can be mixed in
// place.
void mix_batch(const AugmentOptions& options, const AugmentKey& key, const ImageShape& shape,
               std::span<uint8_t> pixels, std::span<const int32_t> labels, MixedLabels& mixed) {
  const size_t count = labels.size();
  mixed.labels.assign(labels.begin(), labels.end());
  mixed.weights.assign(count, 0.0F);
  Rng rng(key.seed, RngPurpose::kMix, static_cast<uint64_t>(key.index),
          static_cast<uint32_t>(key.epoch));
  const bool mixup_on = options.mixup_alpha > 0;
  const bool cutmix_on = options.cutmix_alpha > 0;
  if ((!mixup_on && !cutmix_on) || !rng.bernoulli(options.mix_probability)) return;
  const bool use_mixup = mixup_on && (!cutmix_on || rng.bernoulli(0.5F));
  const float alpha = use_mixup ? options.mixup_alpha : options.cutmix_alpha;
  const float share = rng.beta(alpha, alpha);
  // The labels get exactly the weights that the pixels got: 1/256 steps, or the clipped area.
  const auto w = static_cast<int>(std::lrint(share * 256.0F));
  const Rectangle area = draw_rectangle(rng, 1.0F - share, shape);
  const float weight =
      use_mixup ? static_cast<float>(256 - w) / 256.0F
                : static_cast<float>((area.right - area.left) * (area.bottom - area.top)) /
                      static_cast<float>(shape.height * shape.width);
  for (size_t i = 0; i < count / 2; ++i) {
    const size_t j = count - 1 - i;
    uint8_t* a = pixels.data() + static_cast<int64_t>(i) * shape.size();
    uint8_t* b = pixels.data() + static_cast<int64_t>(j) * shape.size();
    if (use_mixup) {
      mix_pair(w, a, b, shape.size());
    } else {
      swap_rectangle(area, shape, a, b);
    }
    mixed.labels[i] = labels[j];
    mixed.labels[j] = labels[i];
    mixed.weights[i] = mixed.weights[j] = weight;
  }
}

Status check_augment(const AugmentOptions& o, const ImageShape& shape) {
  const auto side = static_cast<float>(std::min(shape.height, shape.width));
  struct Range {
    const char* name;
    float value, low, high;
  };
  const Range ranges[] = {
      {"crop padding", static_cast<float>(o.crop_padding), 0, side},
      {"cutout", static_cast<float>(o.cutout), 0, side},
      {"rotation in degrees", o.rotate_degrees, 0, 180},
      {"shift", o.shift, 0, 1},
      {"scale", o.scale, 0, 0.9F},
      {"colour", o.colour, 0, 1},
      {"mixup alpha", o.mixup_alpha, 0, 100},
      {"CutMix alpha", o.cutmix_alpha, 0, 100},
      {"probability of mixing", o.mix_probability, 0, 1},
  };
  for (const Range& r : ranges) {
    if (!(r.value >= r.low && r.value <= r.high)) {
      return invalid_argument(fmt::format("augmentation: {} is {:g}, expected {:g} to {:g}", r.name,
                                          r.value, r.low, r.high));
    }
  }
  return ok_status();
}

}  // namespace pare
