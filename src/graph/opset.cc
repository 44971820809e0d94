#include "graph/opset.h"

#include <fmt/format.h>

namespace pare {

void raise_opset(Graph& graph, int64_t target) {
  if (graph.opset >= target) return;
  const bool crosses_18 = graph.opset < 18 && target >= 18;
  graph.opset = target;
  if (!crosses_18) return;
  for (Node& node : graph.nodes) {
    if (node.op.starts_with("Reduce") && node.attributes.contains("axes")) {
      const std::vector<int64_t> axes = node.ints_attribute("axes");
      node.attributes.erase("axes");
      const std::string value = graph.fresh_name(node.name + "_axes");
      graph.initializers[value] =
          Tensor::from_values<int64_t>({static_cast<int64_t>(axes.size())}, axes);
      node.inputs.resize(1);
      node.inputs.push_back(value);
    }
    if (node.op == "Split" && !node.has_input(1) && !node.attributes.contains("num_outputs")) {
      node.attributes["num_outputs"] = static_cast<int64_t>(node.outputs.size());
    }
  }
}

Result<std::vector<int64_t>> constant_axes(const Graph& graph, const Node& node) {
  if (!node.has_input(1)) return node.ints_attribute("axes");
  const Tensor* axes = graph.find_initializer(node.inputs[1]);
  if (axes == nullptr) {
    return unsupported(
        fmt::format("node '{}' ({}): its axes are not constant", node.name, node.op));
  }
  return to_int64_vector(*axes);
}

}  // namespace pare
