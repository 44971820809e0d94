// Element types and the 16-bit floats.
//
// Conversions from float32 round to nearest even, keep infinities and map every NaN to a quiet NaN.
// Float16 is IEEE 754 binary16; BFloat16 is the upper half of a binary32.
#ifndef PARE_BASE_DTYPE_H_
#define PARE_BASE_DTYPE_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pare {

enum class DType : uint8_t {
  kFloat32,
  kFloat16,
  kBFloat16,
  kFloat64,
  kInt8,
  kUInt8,
  kInt4,   // two in a byte, the first in the low nibble, as ONNX packs them
  kUInt4,  // likewise
  kInt16,
  kUInt16,
  kInt32,
  kInt64,
  kBool,  // one byte, 0 or 1
};

int dtype_bits(DType type);
// "float32", "uint8", ...: the names ONNX and NumPy use.
const char* dtype_name(DType type);
std::optional<DType> dtype_from_name(std::string_view name);
bool is_floating(DType type);
// Smallest and largest value of an integer type of at most 32 bits.
int32_t dtype_min(DType type);
int32_t dtype_max(DType type);

uint16_t float_to_half_bits(float value);
float half_bits_to_float(uint16_t bits);

inline uint16_t float_to_bfloat16_bits(float value) {
  const uint32_t u = std::bit_cast<uint32_t>(value);
  if ((u & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>((u >> 16) | 0x0040U);
  return static_cast<uint16_t>((u + 0x7fffU + ((u >> 16) & 1U)) >> 16);
}
inline float bfloat16_bits_to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

struct Float16 {
  uint16_t bits = 0;
  Float16() = default;
  explicit Float16(float value) : bits(float_to_half_bits(value)) {}
  explicit operator float() const { return half_bits_to_float(bits); }
  bool operator==(const Float16&) const = default;
};

struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float value) : bits(float_to_bfloat16_bits(value)) {}
  explicit operator float() const { return bfloat16_bits_to_float(bits); }
  bool operator==(const BFloat16&) const = default;
};

// DTypeOf<float>::value == DType::kFloat32, and so on. The 4-bit types have no C++ type of their
// own.
template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kFloat32;
};
template <>
struct DTypeOf<Float16> {
  static constexpr DType value = DType::kFloat16;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::kBFloat16;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::kFloat64;
};
template <>
struct DTypeOf<int8_t> {
  static constexpr DType value = DType::kInt8;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::kUInt8;
};
template <>
struct DTypeOf<int16_t> {
  static constexpr DType value = DType::kInt16;
};
template <>
struct DTypeOf<uint16_t> {
  static constexpr DType value = DType::kUInt16;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::kInt32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::kInt64;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::kBool;
};

}  // namespace pare

#endif  // PARE_BASE_DTYPE_H_
