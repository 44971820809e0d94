#include "base/dtype.h"

#include <array>

namespace pare {
namespace {

struct Row {
  DType type;
  const char* name;
  int bits;
  bool floating;
  int32_t min;
  int32_t max;
};

constexpr std::array<Row, 13> kRows = {{
    {DType::kFloat32, "float32", 32, true, 0, 0},
    {DType::kFloat16, "float16", 16, true, 0, 0},
    {DType::kBFloat16, "bfloat16", 16, true, 0, 0},
    {DType::kFloat64, "float64", 64, true, 0, 0},
    {DType::kInt8, "int8", 8, false, -128, 127},
    {DType::kUInt8, "uint8", 8, false, 0, 255},
    {DType::kInt4, "int4", 4, false, -8, 7},
    {DType::kUInt4, "uint4", 4, false, 0, 15},
    {DType::kInt16, "int16", 16, false, -32768, 32767},
    {DType::kUInt16, "uint16", 16, false, 0, 65535},
    {DType::kInt32, "int32", 32, false, INT32_MIN, INT32_MAX},
    {DType::kInt64, "int64", 64, false, INT32_MIN, INT32_MAX},
    {DType::kBool, "bool", 8, false, 0, 1},
}};

const Row& row_of(DType type) { return kRows[static_cast<size_t>(type)]; }

}  // namespace

int dtype_bits(DType type) { return row_of(type).bits; }
const char* dtype_name(DType type) { return row_of(type).name; }
bool is_floating(DType type) { return row_of(type).floating; }
int32_t dtype_min(DType type) { return row_of(type).min; }
int32_t dtype_max(DType type) { return row_of(type).max; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const Row& row : kRows) {
    if (name == row.name) return row.type;
  }
  return std::nullopt;
}

uint16_t float_to_half_bits(float value) {
  const uint32_t u = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((u >> 16) & 0x8000U);
  const uint32_t magnitude = u & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return static_cast<uint16_t>(sign | 0x7e00U);
  // 65520 is halfway between the largest half, 65504, and the next power: it and all above round
  // up.
  if (magnitude >= 0x477ff000U) return static_cast<uint16_t>(sign | 0x7c00U);
  if (magnitude < 0x38800000U) {
    // Below 2^-14 a half is a multiple of 2^-24: adding 0.5 puts that unit in the last place of the
    // float's mantissa, so that the processor's own rounding to nearest even does the work.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000U));
  }
  const uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13) & 1U);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

float half_bits_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fU;
  const uint32_t mantissa = bits & 0x3ffU;
  if (exponent == 0x1fU) {
    const uint32_t quiet = mantissa != 0 ? 0x00400000U : 0U;
    return std::bit_cast<float>(sign | 0x7f800000U | quiet | (mantissa << 13));
  }
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (mantissa << 13));
}

}  // namespace pare
