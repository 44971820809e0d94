// The manifest of a .pare file: the graph without its large tensors, and where those stand.
//
//   manifest  name, opset, inputs, outputs, nodes, contract, metadata, tensors
//   string    bytes varint, the bytes;  list: count varint, the items
//   integer   zigzag varint (LEB128);  float: binary32
//   value     name, type (ONNX's number), shape (list of integers)
//   node      op, domain, name, inputs, outputs, attributes
//   attribute name, kind u8 (0 integer, 1 float, 2 string, 3 tensor, 4 integers, 5 floats,
//             6 strings), value
//   tensor    type, shape, its bytes
//   contract  list of attributes named after InputContract's fields
//   metadata  list of pairs of strings
//   entry of the list of tensors
//             name, type, shape, storage u8; 0 inline: its bytes; 1 raw, 2 coded, 3 scaled,
//             4 palette: offset u64, stored bytes u64, XXH3-64 u64
#ifndef PARE_GRAPH_PARE_MANIFEST_H_
#define PARE_GRAPH_PARE_MANIFEST_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

// What a section costs beside its bytes (padding, an entry of 24 bytes) is more than it would save
// below this.
inline constexpr int64_t kInlineBytes = 256;

enum class PareStorage : uint8_t { kInline, kRaw, kCoded, kScaled, kPalette };

struct PareTensor {
  std::string name;
  DType type = DType::kFloat32;
  Shape shape;
  PareStorage storage = PareStorage::kInline;
  Tensor inline_value;
  uint64_t offset = 0;
  uint64_t stored_bytes = 0;
  uint64_t hash = 0;
};

struct PareManifest {
  Graph graph;  // without initializers
  std::vector<PareTensor> tensors;
};

std::vector<std::byte> write_manifest(const Graph& graph, const std::vector<PareTensor>& tensors);
Result<PareManifest> read_manifest(std::span<const std::byte> bytes);

// A tensor of these sizes, or why a file cannot hold one: negative or too many dimensions, more
// elements than 2^40.
Result<int64_t> stored_tensor_bytes(DType type, const Shape& shape);
// A bool that is neither 0 nor 1 is undefined to read.
bool sound_elements(DType type, std::span<const std::byte> bytes);

}  // namespace pare

#endif  // PARE_GRAPH_PARE_MANIFEST_H_
