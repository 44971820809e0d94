#include "graph/onnx_types.h"

namespace pare {
namespace {

struct Entry {
  int64_t number;
  DType type;
};

constexpr Entry kEntries[] = {
    {1, DType::kFloat32},  {2, DType::kUInt8},    {3, DType::kInt8},      {4, DType::kUInt16},
    {5, DType::kInt16},    {6, DType::kInt32},    {7, DType::kInt64},     {9, DType::kBool},
    {10, DType::kFloat16}, {11, DType::kFloat64}, {16, DType::kBFloat16}, {21, DType::kUInt4},
    {22, DType::kInt4},
};

}  // namespace

std::optional<DType> dtype_from_onnx(int64_t number) {
  for (const Entry& entry : kEntries) {
    if (entry.number == number) return entry.type;
  }
  return std::nullopt;
}

int64_t onnx_from_dtype(DType type) {
  for (const Entry& entry : kEntries) {
    if (entry.type == type) return entry.number;
  }
  return 0;
}

}  // namespace pare
