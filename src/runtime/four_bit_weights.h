// Weights of 4 bits, for the planner: the same integers in 8 bits, so that the kernels of int8
// multiply them.
//
// A constant of int4 or uint4 behind DequantizeLinear becomes int8 about zero:
//   one scale, or one a channel   q - zero_point, which 8 bits hold
//   scales in blocks of inputs    (q - zero_point) · factor, where the scales of a channel's blocks
//                                 are whole multiples (1 … 15) of one number, as Pare writes them:
//                                 scale[c, b] = float(s[c] · factor[c, b]); the new scale is s[c]
// The integers are the same, so nothing is rounded but s[c] · factor, which the file holds rounded
// to float32. Weights of 4 bits that are none of these stay as they are: they are multiplied as
// floats.
#ifndef PARE_RUNTIME_FOUR_BIT_WEIGHTS_H_
#define PARE_RUNTIME_FOUR_BIT_WEIGHTS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "graph/graph.h"

namespace pare {

Graph widen_four_bit_weights(Graph graph);

// A number and its whole multiples.
struct CommonScale {
  float scale = 0;
  std::vector<int32_t> factors;
};
// The largest number of which all scales are the products with whole numbers up to 15, rounded to
// float32; nullopt where there is none.
std::optional<CommonScale> find_common_scale(std::span<const float> scales);

}  // namespace pare

#endif  // PARE_RUNTIME_FOUR_BIT_WEIGHTS_H_
