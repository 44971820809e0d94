#include <utility>

#include "compress/compress.h"
#include "graph/onnx_types.h"
#include "graph/passes.h"
#include "runtime/constant_folding.h"

namespace pare {
namespace {

// Initializers behind a Cast to float32, as fp16 and bf16 leave them, become float32 themselves
// under the name that their readers know. Constant folding leaves them alone on purpose.
Graph widen_weights(Graph graph) {
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    const bool to_float = node.op == "Cast" && node.domain.empty() &&
                          node.int_attribute("to", 0) == onnx_from_dtype(DType::kFloat32);
    const Tensor* stored = to_float ? graph.find_initializer(node.inputs[0]) : nullptr;
    if (stored == nullptr ||
        (stored->type() != DType::kFloat16 && stored->type() != DType::kBFloat16)) {
      nodes.push_back(std::move(node));
      continue;
    }
    graph.initializers[node.outputs[0]] =
        Tensor::from_values<float>(stored->shape(), to_float_vector(*stored));
  }
  graph.nodes = std::move(nodes);
  remove_unused(graph);
  return graph;
}

}  // namespace

Result<Graph> prepare_for_compression(const Graph& graph) {
  PARE_ASSIGN_OR_RETURN(Graph result, fold_constants(widen_weights(graph)));
  PARE_ASSIGN_OR_RETURN(result, simplify(std::move(result)));
  return fold_constants(std::move(result));
}

}  // namespace pare
