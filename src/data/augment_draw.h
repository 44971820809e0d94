// What was drawn for an image and for a batch: plain numbers of fixed size, made on the CPU
// (augment.h) and read by whoever changes the pixels, on the CPU or on a GPU.
#ifndef PARE_DATA_AUGMENT_DRAW_H_
#define PARE_DATA_AUGMENT_DRAW_H_

#include <cstdint>

namespace pare {

// One image's draw, in the units of augment.h's formulas.
struct ImageDraw {
  int32_t dx, dy;  // pixels: where the cut begins, from -crop_padding to crop_padding
  int32_t mirrored;
  float cosine, sine;                      // of the rotation, divided by the scale
  float shift_x, shift_y;                  // pixels
  float brightness, contrast, saturation;  // factors
  int32_t hole_x, hole_y;                  // centre of the cutout
};

// What a batch mixes: image i with image count-1-i.
struct BatchDraw {
  enum Kind : int32_t { kNone, kMixup, kCutMix };
  int32_t kind;
  int32_t own;                       // mixup: an image's own share, in 1/256
  int32_t left, top, right, bottom;  // CutMix: the rectangle that is exchanged
  float weight;                      // of the partner's label
};

// What happens to the pixels of every image: AugmentOptions without what only the draws need.
struct PixelWork {
  int32_t affine, crop, colour;  // whether
  int32_t cutout;                // side of the square, pixels
  uint8_t fill[4];               // by channel modulo 3
};

}  // namespace pare

#endif  // PARE_DATA_AUGMENT_DRAW_H_
