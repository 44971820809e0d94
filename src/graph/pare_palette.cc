#include "graph/pare_palette.h"

#include <fmt/format.h>

#include <cstring>
#include <map>

namespace pare {
namespace {

// Bits: the unsigned integer of an element's size.
template <typename Bits>
std::optional<PaletteTensor> find(const Tensor& tensor) {
  const std::byte* bytes = tensor.data();
  const auto count = static_cast<size_t>(tensor.size());
  const auto bits_of = [bytes](size_t i) {
    Bits bits = 0;
    std::memcpy(&bits, bytes + i * sizeof(Bits), sizeof(Bits));
    return bits;
  };
  std::map<Bits, uint8_t> index_of;  // in order: zeros come first
  Bits last = 0;
  for (size_t i = 0; i < count; ++i) {
    const Bits bits = bits_of(i);
    if (i > 0 && bits == last) continue;
    last = bits;
    if (index_of.emplace(bits, uint8_t{0}).second && index_of.size() > kMaxPaletteValues)
      return std::nullopt;
  }
  PaletteTensor palette;
  palette.values.resize(index_of.size() * sizeof(Bits));
  size_t next = 0;
  for (auto& [bits, index] : index_of) {
    index = static_cast<uint8_t>(next);
    std::memcpy(palette.values.data() + next++ * sizeof(Bits), &bits, sizeof(Bits));
  }
  palette.indices = Tensor(DType::kUInt8, tensor.shape());
  const auto indices = palette.indices.mutable_values<uint8_t>();
  for (size_t i = 0; i < count; ++i) indices[i] = index_of.find(bits_of(i))->second;
  return palette;
}

template <typename Bits>
Status restore(std::span<const std::byte> indices, std::span<const std::byte> values,
               std::span<std::byte> out) {
  Bits table[kMaxPaletteValues] = {};
  std::memcpy(table, values.data(), values.size());
  const size_t count = values.size() / sizeof(Bits);
  for (size_t i = 0; i < indices.size(); ++i) {
    const auto index = static_cast<size_t>(indices[i]);
    if (index >= count)
      return corrupt(
          fmt::format("element {} of a chunk has value {} of a palette of {}", i, index, count));
    std::memcpy(out.data() + i * sizeof(Bits), &table[index], sizeof(Bits));
  }
  return ok_status();
}

}  // namespace

bool can_have_palette(DType type) {
  return type == DType::kFloat32 || type == DType::kFloat16 || type == DType::kBFloat16;
}

std::optional<PaletteTensor> find_palette(const Tensor& tensor) {
  if (!can_have_palette(tensor.type()) || tensor.size() == 0) return std::nullopt;
  return tensor.type() == DType::kFloat32 ? find<uint32_t>(tensor) : find<uint16_t>(tensor);
}

Status restore_palette(std::span<const std::byte> indices, std::span<const std::byte> values,
                       int element_bytes, std::span<std::byte> out) {
  return element_bytes == 4 ? restore<uint32_t>(indices, values, out)
                            : restore<uint16_t>(indices, values, out);
}

}  // namespace pare
