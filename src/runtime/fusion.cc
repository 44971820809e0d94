#include "runtime/fusion.h"

namespace pare {
namespace {

bool is_product(const Node& node) {
  return node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul" ||
         node.op == "MatMulInteger" || node.op == "ConvInteger";
}

}  // namespace

Fusion plan_fusion(const Graph& graph, const Inference& inference, const FusionOptions& options) {
  (void)inference;
  (void)options;
  Fusion fusion;
  fusion.skipped.assign(graph.nodes.size(), false);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (!is_product(node)) continue;
    ProductGroup group;
    group.anchor = static_cast<int>(i);
    group.nodes = {group.anchor};
    group.source = node.inputs[0];
    group.weights = node.inputs[1];
    if (node.op != "MatMulInteger" && node.op != "ConvInteger" && node.has_input(2)) {
      group.bias = node.inputs[2];
    }
    group.output = node.outputs[0];
    fusion.products.emplace(group.anchor, std::move(group));
  }
  return fusion;
}

}  // namespace pare
