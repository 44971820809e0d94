// What one instruction set offers along rows: layer norm, softmax, and attention's softmax.
// Plain structs only: included by files compiled for one instruction set.
#ifndef PARE_KERNELS_NORM_ROWS_H_
#define PARE_KERNELS_NORM_ROWS_H_

#include <cstdint>

#include "kernels/simd/stored_type.h"

namespace pare {

struct NormRowArgs {
  const void* src;
  void* dst;
  int64_t first;  // element of src and dst where the row begins
  int64_t cols;
  float epsilon;
  const float* gamma;
  const float* beta;
  StoredType src_type;
  StoredType dst_type;
  IntegerRounding rounding;
};

struct NormRows {
  void (*layer_norm)(const NormRowArgs&);
  void (*softmax)(const NormRowArgs&);
  void (*log_softmax)(const NormRowArgs&);
  // scores[c] = softmax of scale * scores[c] over c, in place.
  void (*scaled_softmax)(float* scores, int64_t cols, float scale);
};

extern const NormRows norm_rows_avx2;
extern const NormRows norm_rows_avx512;
extern const NormRows norm_rows_neon;

}  // namespace pare

#endif  // PARE_KERNELS_NORM_ROWS_H_
