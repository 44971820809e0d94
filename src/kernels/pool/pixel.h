// What one instruction set offers for pooling: all channels of one output pixel.
// Plain structs only: included by files compiled for one instruction set.
#ifndef PARE_KERNELS_POOL_PIXEL_H_
#define PARE_KERNELS_POOL_PIXEL_H_

#include <cstdint>

#include "kernels/simd/stored_type.h"

namespace pare {

// The part of the window inside the image: rows x columns pixels from `first` on.
struct PoolPixelArgs {
  const void* src;
  int64_t first;  // element of src: channel 0 of the first pixel
  int64_t rows;
  int64_t columns;
  int64_t row_step;  // elements from a window row to the next
  int64_t column_step;
  int64_t channels;
  void* dst;
  int64_t dst_first;  // element of dst
  StoredType type;
  StoredType dst_type;
  // The mean: v = ((sum - zero) / count) * scale, where zero is the sum of the zero points.
  float zero;
  float count;
  float scale;
  IntegerRounding rounding;
};

struct PoolPixel {
  void (*max)(const PoolPixelArgs&);  // floating types
  void (*max_uint8)(const PoolPixelArgs&);
  void (*average)(const PoolPixelArgs&);
};

extern const PoolPixel pool_pixel_avx2;
extern const PoolPixel pool_pixel_avx512;
extern const PoolPixel pool_pixel_neon;

}  // namespace pare

#endif  // PARE_KERNELS_POOL_PIXEL_H_
