// Augmentation of uint8 CHW images: what is drawn, and the work on the pixels on the CPU, one pass
// for all geometry and one for colour and cutout. A GPU does the same work to the same bits
// (train/cuda/augment.cu).
//
// What happens to an image is drawn from (seed, epoch, the image's position in the data set), and
// what happens to a batch from (seed, epoch, the batch's number): never from a shared stream, so
// the result is the same for any number of threads.
//
//   crop, flip   the image padded by `crop_padding` on each side, cut back at a random place,
//                mirrored with probability 1/2
//   affine       rotation, shift and scale about the centre, sampled bilinearly (together with crop
//                and flip, so that pixels are interpolated once)
//   colour       brightness b, contrast c, saturation s, each uniform in 1 ± colour, as in
//                torchvision's ColorJitter without its clamping in between:
//                  x' = s c b x + (1 - s) c b grey(x) + (1 - c) b m,   m the image's mean grey
//   cutout       a square set to `fill`, its centre anywhere in the image (DeVries, Taylor 2017)
//   mixup        x' = w x_i + (1 - w) x_j for the whole batch, w ~ Beta(a, a)  (Zhang et al. 2018)
//   CutMix       a rectangle of x_j put into x_i, its share of the area 1 - w  (Yun et al. 2019)
#ifndef PARE_DATA_AUGMENT_H_
#define PARE_DATA_AUGMENT_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "data/augment_draw.h"
#include "data/dataset.h"

namespace pare {

struct AugmentOptions {
  int64_t crop_padding = 0;
  bool flip = false;
  // With flip: the first epoch's side is drawn for each image, then it alternates, so that two
  // epochs show both (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", section 3.6).
  bool alternate_flip = false;
  float rotate_degrees = 0;  // ± this
  float shift = 0;           // ± this share of the side
  float scale = 0;           // 1 ± this
  float colour = 0;          // 0 … 1
  int64_t cutout = 0;        // side of the square, pixels
  float mixup_alpha = 0;     // 0: no mixup
  float cutmix_alpha = 0;    // 0: no CutMix
  // Share of the batches that are mixed; with both kinds switched on each takes half of them.
  float mix_probability = 1.0F;
  // What stands outside the image and inside a cutout: about the mean, so near 0 once normalised.
  std::array<uint8_t, 3> fill = {125, 123, 114};

  bool operator==(const AugmentOptions&) const = default;
};

// Where an image's random numbers come from.
struct AugmentKey {
  uint64_t seed = 0;
  int64_t epoch = 0;  // below 2^24
  int64_t index = 0;  // the image's position in the data set, or the batch's number
};

// What happens to one image, and to a batch: pure functions of options and key. A thousand images
// take a quarter of a millisecond.
ImageDraw draw_image(const AugmentOptions& options, const AugmentKey& key, const ImageShape& shape);
BatchDraw draw_batch(const AugmentOptions& options, const AugmentKey& key, const ImageShape& shape);

// What the options ask of the pixels of every image.
PixelWork pixel_work(const AugmentOptions& options, const ImageShape& shape);

// Augments one image: crop, flip, affine, colour, cutout. `src` and `dst` must not overlap.
void augment_image(const PixelWork& work, const ImageDraw& draw, const ImageShape& shape,
                   std::span<const uint8_t> src, std::span<uint8_t> dst);

// The second label of each image of a mixed batch and its weight: the target is (1 - weight) on
// `labels`, weight on `mixed_labels`.
struct MixedLabels {
  std::vector<int32_t> labels;
  std::vector<float> weights;
};

// Mixes the pixels of a batch in place, or leaves them.
void mix_pixels(const BatchDraw& draw, const ImageShape& shape, std::span<uint8_t> pixels);
// The labels to go with it; for a batch that is not mixed, weights 0 and the labels themselves.
void mix_labels(const BatchDraw& draw, std::span<const int32_t> labels, MixedLabels& mixed);

// Values out of range are named (kInvalidArgument).
Status check_augment(const AugmentOptions& options, const ImageShape& shape);

}  // namespace pare

#endif  // PARE_DATA_AUGMENT_H_
