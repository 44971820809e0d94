// ONNX files in and out.
//
// Reading: opset 13 to 21 (13 to 16 become 17, whose forms they share for all operators Pare has),
// ONNX's own domain, tensors in raw or typed fields or in external files beside the model.
// Constant nodes become initializers; nodes no output needs are left out. Anything Pare lacks
// (operators, control flow, sparse tensors, strings) is refused by name. The bytes are not trusted:
// every size is checked before memory is taken. Eight-bit weights about 128 become int8 about zero
// (weight_signs.h).
//
// Writing: what onnx.checker accepts and ONNX Runtime and OpenVINO run. The keys under which a
// Graph's contract and metadata travel in metadata_props are listed in docs/file-formats.md.
//
// Source: onnx/onnx.proto, docs/IR.md, docs/ExternalData.md, docs/Versioning.md.
#ifndef PARE_GRAPH_ONNX_H_
#define PARE_GRAPH_ONNX_H_

#include <cstddef>
#include <span>
#include <string>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

Result<Graph> read_onnx(const std::string& path);

// `folder`: where external data lies; empty refuses external data.
Result<Graph> parse_onnx(std::span<const std::byte> bytes, const std::string& folder);

struct OnnxWriteOptions {
  // Weights of 1 KiB and more go to "<file name>.<hash of them>.data" beside the model. Done
  // without being asked when the file would pass 2 GiB, which protobuf cannot hold.
  bool external_data = false;
  // Eight-bit weights as int8 about zero, for engines that take no other (TensorRT); otherwise they
  // are written as uint8 about 128 (weight_signs.h), which every engine multiplies exactly.
  bool signed_weights = false;
};

// Writes the file, or both, whole or not at all: weights that change are written under another
// name, so that the model that was there before and its weights stay a pair until the new model
// takes its place. The weights that then belong to nothing are removed. The graph must pass
// check_graph() and hold no internal operator (domain "pare").
Status write_onnx(const Graph& graph, const std::string& path,
                  const OnnxWriteOptions& options = {});

// The bytes write_onnx() would write without external data; the same graph gives the same bytes.
Result<std::string> serialise_onnx(const Graph& graph);

}  // namespace pare

#endif  // PARE_GRAPH_ONNX_H_
