#include "data/augment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "base/rng.h"

namespace pare {
namespace {

uint8_t fill_of(const PixelWork& work, int64_t channel) { return work.fill[channel % 3]; }

// An image's side in the first epoch: a stream of its own, whose epoch no run reaches.
bool first_side(const AugmentKey& key) {
  constexpr uint32_t kNoEpoch = uint32_t{1} << 24;
  return Rng(key.seed, RngPurpose::kAugment, static_cast<uint64_t>(key.index), kNoEpoch)
      .bernoulli(0.5F);
}

// dst(y, x) = src(y + dy, x' + dx), x' mirrored or not.
void crop_and_flip(const PixelWork& work, const ImageDraw& d, const ImageShape& s,
                   const uint8_t* src, uint8_t* dst) {
  const int64_t first = std::max<int64_t>(0, -d.dx);
  const int64_t last =
      std::min<int64_t>(s.width, s.width - d.dx);  // columns first … last-1 are inside
  for (int64_t c = 0; c < s.channels; ++c) {
    for (int64_t y = 0; y < s.height; ++y) {
      uint8_t* row = dst + (c * s.height + y) * s.width;
      std::memset(row, fill_of(work, c), static_cast<size_t>(s.width));
      const int64_t from_y = y + d.dy;
      if (from_y < 0 || from_y >= s.height || last <= first) continue;
      const uint8_t* from = src + (c * s.height + from_y) * s.width;
      std::memcpy(row + first, from + first + d.dx, static_cast<size_t>(last - first));
      if (d.mirrored != 0) std::reverse(row, row + s.width);
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
void affine(const PixelWork& work, const ImageDraw& d, const ImageShape& s, const uint8_t* src,
            uint8_t* dst) {
  const float cx = static_cast<float>(s.width - 1) / 2.0F;
  const float cy = static_cast<float>(s.height - 1) / 2.0F;
  const int64_t plane = s.height * s.width;
  for (int64_t y = 0; y < s.height; ++y) {
    for (int64_t x = 0; x < s.width; ++x) {
      const int64_t column = (d.mirrored != 0 ? s.width - 1 - x : x) + d.dx;
      const float u = static_cast<float>(column) - cx - d.shift_x;
      const float v = static_cast<float>(y + d.dy) - cy - d.shift_y;
      const auto fx = static_cast<int64_t>(std::lrint((d.cosine * u + d.sine * v + cx) * 256.0F));
      const auto fy = static_cast<int64_t>(std::lrint((d.cosine * v - d.sine * u + cy) * 256.0F));
      const Taps taps{fx >> 8, fy >> 8, static_cast<int>(fx & 255), static_cast<int>(fy & 255)};
      for (int64_t c = 0; c < s.channels; ++c) {
        dst[c * plane + y * s.width + x] = taps.sample(src + c * plane, s, fill_of(work, c));
      }
    }
  }
}

uint8_t to_byte(float x) {
  return static_cast<uint8_t>(std::min(255.0F, std::max(0.0F, x)) + 0.5F);
}

// Three channels; the formula of augment.h with ITU-R BT.601 grey.
void colour(const ImageDraw& d, const ImageShape& s, uint8_t* pixels) {
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

void cutout(const PixelWork& work, const ImageDraw& d, const ImageShape& s, uint8_t* pixels) {
  const int64_t left = std::max<int64_t>(0, d.hole_x - work.cutout / 2);
  const int64_t top = std::max<int64_t>(0, d.hole_y - work.cutout / 2);
  const int64_t right = std::min<int64_t>(s.width, d.hole_x - work.cutout / 2 + work.cutout);
  const int64_t bottom = std::min<int64_t>(s.height, d.hole_y - work.cutout / 2 + work.cutout);
  for (int64_t c = 0; c < s.channels; ++c) {
    for (int64_t y = top; y < bottom; ++y) {
      std::memset(pixels + (c * s.height + y) * s.width + left, fill_of(work, c),
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

// Puts a square of about `area_share` of the image, cut to it, into the draw.
void draw_rectangle(Rng& rng, float area_share, const ImageShape& s, BatchDraw& draw) {
  const float side = std::sqrt(area_share);
  const auto w = std::lrint(side * static_cast<float>(s.width));
  const auto h = std::lrint(side * static_cast<float>(s.height));
  const auto x = static_cast<int64_t>(rng.below(static_cast<uint64_t>(s.width)));
  const auto y = static_cast<int64_t>(rng.below(static_cast<uint64_t>(s.height)));
  draw.left = static_cast<int32_t>(std::max<int64_t>(0, x - w / 2));
  draw.top = static_cast<int32_t>(std::max<int64_t>(0, y - h / 2));
  draw.right = static_cast<int32_t>(std::min<int64_t>(s.width, x - w / 2 + w));
  draw.bottom = static_cast<int32_t>(std::min<int64_t>(s.height, y - h / 2 + h));
}

void swap_rectangle(const BatchDraw& r, const ImageShape& s, uint8_t* a, uint8_t* b) {
  for (int64_t c = 0; c < s.channels; ++c) {
    for (int64_t y = r.top; y < r.bottom; ++y) {
      const int64_t row = (c * s.height + y) * s.width;
      std::swap_ranges(a + row + r.left, a + row + r.right, b + row + r.left);
    }
  }
}

}  // namespace

// Everything is drawn in this order, whether used or not: switching one kind of augmentation on
// does not change what the others draw.
ImageDraw draw_image(const AugmentOptions& o, const AugmentKey& key, const ImageShape& shape) {
  Rng rng(key.seed, RngPurpose::kAugment, static_cast<uint64_t>(key.index),
          static_cast<uint32_t>(key.epoch));
  ImageDraw d{};
  const auto offsets = static_cast<uint64_t>(2 * o.crop_padding + 1);
  d.dx = static_cast<int32_t>(static_cast<int64_t>(rng.below(offsets)) - o.crop_padding);
  d.dy = static_cast<int32_t>(static_cast<int64_t>(rng.below(offsets)) - o.crop_padding);
  d.mirrored = rng.bernoulli(0.5F) && o.flip ? 1 : 0;
  if (o.flip && o.alternate_flip) d.mirrored = first_side(key) != (key.epoch % 2 != 0) ? 1 : 0;
  const float angle =
      rng.uniform(-1.0F, 1.0F) * o.rotate_degrees * std::numbers::pi_v<float> / 180.0F;
  d.shift_x = rng.uniform(-1.0F, 1.0F) * o.shift * static_cast<float>(shape.width);
  d.shift_y = rng.uniform(-1.0F, 1.0F) * o.shift * static_cast<float>(shape.height);
  const float scale = 1.0F + rng.uniform(-1.0F, 1.0F) * o.scale;
  d.cosine = std::cos(angle) / scale;
  d.sine = std::sin(angle) / scale;
  d.brightness = 1.0F + rng.uniform(-1.0F, 1.0F) * o.colour;
  d.contrast = 1.0F + rng.uniform(-1.0F, 1.0F) * o.colour;
  d.saturation = 1.0F + rng.uniform(-1.0F, 1.0F) * o.colour;
  d.hole_x = static_cast<int32_t>(rng.below(static_cast<uint64_t>(shape.width)));
  d.hole_y = static_cast<int32_t>(rng.below(static_cast<uint64_t>(shape.height)));
  return d;
}

BatchDraw draw_batch(const AugmentOptions& options, const AugmentKey& key,
                     const ImageShape& shape) {
  BatchDraw draw{};
  Rng rng(key.seed, RngPurpose::kMix, static_cast<uint64_t>(key.index),
          static_cast<uint32_t>(key.epoch));
  const bool mixup_on = options.mixup_alpha > 0;
  const bool cutmix_on = options.cutmix_alpha > 0;
  if ((!mixup_on && !cutmix_on) || !rng.bernoulli(options.mix_probability)) return draw;
  const bool use_mixup = mixup_on && (!cutmix_on || rng.bernoulli(0.5F));
  const float alpha = use_mixup ? options.mixup_alpha : options.cutmix_alpha;
  const float share = rng.beta(alpha, alpha);
  draw.kind = use_mixup ? BatchDraw::kMixup : BatchDraw::kCutMix;
  // The labels get exactly the weights that the pixels got: 1/256 steps, or the clipped area.
  draw.own = static_cast<int32_t>(std::lrint(share * 256.0F));
  draw_rectangle(rng, 1.0F - share, shape, draw);
  const int32_t area = (draw.right - draw.left) * (draw.bottom - draw.top);
  draw.weight = use_mixup
                    ? static_cast<float>(256 - draw.own) / 256.0F
                    : static_cast<float>(area) / static_cast<float>(shape.height * shape.width);
  return draw;
}

PixelWork pixel_work(const AugmentOptions& o, const ImageShape& shape) {
  PixelWork work{};
  work.affine = o.rotate_degrees != 0 || o.shift != 0 || o.scale != 0 ? 1 : 0;
  work.crop = o.crop_padding != 0 || o.flip ? 1 : 0;
  work.colour = o.colour != 0 && shape.channels == 3 ? 1 : 0;
  work.cutout = static_cast<int32_t>(o.cutout);
  std::copy(o.fill.begin(), o.fill.end(), work.fill);
  return work;
}

void augment_image(const PixelWork& work, const ImageDraw& draw, const ImageShape& shape,
                   std::span<const uint8_t> src, std::span<uint8_t> dst) {
  if (work.affine != 0) {
    affine(work, draw, shape, src.data(), dst.data());
  } else if (work.crop != 0) {
    crop_and_flip(work, draw, shape, src.data(), dst.data());
  } else {
    std::memcpy(dst.data(), src.data(), static_cast<size_t>(shape.size()));
  }
  if (work.colour != 0) colour(draw, shape, dst.data());
  if (work.cutout != 0) cutout(work, draw, shape, dst.data());
}

// The order is random already, and pairs can be mixed in place.
void mix_pixels(const BatchDraw& draw, const ImageShape& shape, std::span<uint8_t> pixels) {
  if (draw.kind == BatchDraw::kNone) return;
  const auto image = static_cast<size_t>(shape.size());
  const size_t count = pixels.size() / image;
  for (size_t i = 0; i < count / 2; ++i) {
    uint8_t* a = pixels.data() + i * image;
    uint8_t* b = pixels.data() + (count - 1 - i) * image;
    if (draw.kind == BatchDraw::kMixup) {
      mix_pair(draw.own, a, b, shape.size());
    } else {
      swap_rectangle(draw, shape, a, b);
    }
  }
}

void mix_labels(const BatchDraw& draw, std::span<const int32_t> labels, MixedLabels& mixed) {
  const size_t count = labels.size();
  mixed.labels.assign(labels.begin(), labels.end());
  mixed.weights.assign(count, 0.0F);
  if (draw.kind == BatchDraw::kNone) return;
  for (size_t i = 0; i < count; ++i) {
    const size_t partner = count - 1 - i;
    if (partner == i) continue;  // the middle one of an odd number stays as it is
    mixed.labels[i] = labels[partner];
    mixed.weights[i] = draw.weight;
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
