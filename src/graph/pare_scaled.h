// Float tensors that are integers in disguise: every element a scale times a whole number in
// -127 … 127, one scale a channel, as rounding to 8 bits leaves them. A .pare file stores the whole
// numbers and the scales, and gives back every bit.
//
//   w[i] = scale[channel of i] · q[i],  the product rounded once to float32;  q = -128 stands for
//   -0.0
//          (what a small negative number becomes where rounding is done in floats)
//
// Channels lie along the first axis (convolutions, dense layers [out, in]) or the last ([in, out]).
#ifndef PARE_GRAPH_PARE_SCALED_H_
#define PARE_GRAPH_PARE_SCALED_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/tensor.h"

namespace pare {

struct ScaledTensor {
  bool last_axis = false;
  std::vector<float> scales;
  Tensor values;  // int8, the shape of the float tensor
};

// Nothing when the tensor is not of that kind, to the last bit.
std::optional<ScaledTensor> find_scaled(const Tensor& tensor);

// Writes elements first … of a tensor of `size` elements from their whole numbers.
void restore_scaled(std::span<const std::byte> values, bool last_axis,
                    std::span<const float> scales, int64_t first, int64_t size,
                    std::span<float> out);

}  // namespace pare

#endif  // PARE_GRAPH_PARE_SCALED_H_
