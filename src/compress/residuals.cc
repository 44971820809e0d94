#include "compress/residuals.h"

#include <algorithm>
#include <unordered_set>

namespace pare {
namespace {

// Whether `value` is computed from `source`.
bool depends_on(const Graph& graph, const GraphIndex& index, const std::string& value,
                const std::string& source) {
  std::unordered_set<std::string> seen;
  std::vector<std::string> pending = {value};
  while (!pending.empty()) {
    const std::string next = pending.back();
    pending.pop_back();
    if (next == source) return true;
    if (!seen.insert(next).second || index.producer(next) < 0) continue;
    const Node& node = graph.nodes[static_cast<size_t>(index.producer(next))];
    pending.insert(pending.end(), node.inputs.begin(), node.inputs.end());
  }
  return false;
}

}  // namespace

std::vector<Residual> find_residuals(const Graph& graph) {
  const Result<ValueInfos> infos = infer_shapes(graph, 1);
  std::vector<Residual> residuals;
  if (!infos.ok()) return residuals;
  const GraphIndex index(graph);
  for (const Node& node : graph.nodes) {
    if (node.op != "Add" || !node.domain.empty()) continue;
    const Shape& shape = infos->at(node.inputs[0]).shape;
    if (index.producer(node.inputs[0]) < 0 || index.producer(node.inputs[1]) < 0) continue;
    if (shape != infos->at(node.inputs[1]).shape || shape.size() < 2) continue;
    for (size_t branch = 0; branch < 2; ++branch) {
      if (!depends_on(graph, index, node.inputs[branch], node.inputs[1 - branch])) continue;
      residuals.push_back({node.name, branch, node.inputs[branch], shape.size() == 4});
      break;
    }
  }
  return residuals;
}

Graph without_residual(Graph graph, const Residual& residual, const std::vector<float>& constant) {
  const auto channels = static_cast<int64_t>(constant.size());
  const Shape shape = residual.image ? Shape{channels, 1, 1} : Shape{channels};
  const std::string name = graph.fresh_name(residual.add + ".mean");
  for (Node& node : graph.nodes)
    if (node.name == residual.add) node.inputs[residual.branch] = name;
  graph.initializers[name] = Tensor::from_values<float>(shape, constant);
  remove_unused(graph);
  return graph;
}

}  // namespace pare
