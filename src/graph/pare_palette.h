// Float tensors of at most 256 different values, as weight sharing leaves them. A .pare file stores
// the values and each element's index, and gives back every bit.
//
// An element of zeros has index 0, so that the codec sees where they are; the other values follow
// by their bits, as unsigned numbers.
#ifndef PARE_GRAPH_PARE_PALETTE_H_
#define PARE_GRAPH_PARE_PALETTE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "pare/status.h"

#include "base/tensor.h"

namespace pare {

inline constexpr size_t kMaxPaletteValues = 256;

struct PaletteTensor {
  std::vector<std::byte> values;  // count × element's bytes
  Tensor indices;                 // uint8, the shape of the float tensor
};

// Of 2 or 4 bytes an element; no other type has a palette.
bool can_have_palette(DType type);

// Nothing when the tensor has more values than that, or another type.
std::optional<PaletteTensor> find_palette(const Tensor& tensor);

// Writes the elements that the indices stand for. kCorrupt for an index without a value.
Status restore_palette(std::span<const std::byte> indices, std::span<const std::byte> values,
                       int element_bytes, std::span<std::byte> out);

}  // namespace pare

#endif  // PARE_GRAPH_PARE_PALETTE_H_
