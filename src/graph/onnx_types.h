// ONNX's numbers for element types (TensorProto.DataType in onnx.proto) and ours.
#ifndef PARE_GRAPH_ONNX_TYPES_H_
#define PARE_GRAPH_ONNX_TYPES_H_

#include <cstdint>
#include <optional>

#include "base/dtype.h"

namespace pare {

// nullopt for one that Pare has no type for (strings, complex numbers, 8-bit floats, ...).
std::optional<DType> dtype_from_onnx(int64_t number);
int64_t onnx_from_dtype(DType type);

}  // namespace pare

#endif  // PARE_GRAPH_ONNX_TYPES_H_
