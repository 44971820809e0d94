#include "compress/scope.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace pare {
namespace {

// Nodes that `value` depends on, the one that writes it included.
std::set<int> nodes_behind(const Graph& graph, const GraphIndex& index, const std::string& value) {
  std::set<int> behind;
  std::vector<int> open = {index.producer(value)};
  while (!open.empty()) {
    const int node = open.back();
    open.pop_back();
    if (node < 0 || !behind.insert(node).second) continue;
    for (const std::string& input : graph.nodes[static_cast<size_t>(node)].inputs)
      if (!input.empty()) open.push_back(index.producer(input));
  }
  return behind;
}

}  // namespace

std::set<int> residual_branches(const Graph& graph) {
  const GraphIndex index(graph);
  std::set<int> branches;
  for (const Node& node : graph.nodes) {
    if (node.op != "Add" || !node.domain.empty() || node.inputs.size() != 2) continue;
    const std::set<int> left = nodes_behind(graph, index, node.inputs[0]);
    const std::set<int> right = nodes_behind(graph, index, node.inputs[1]);
    // A constant on one side is a bias or an embedding; the graph's input has no node.
    const auto computed = [&](const std::string& value) {
      return graph.find_initializer(value) == nullptr;
    };
    if (!computed(node.inputs[0]) || !computed(node.inputs[1])) continue;
    std::set_symmetric_difference(left.begin(), left.end(), right.begin(), right.end(),
                                  std::inserter(branches, branches.end()));
  }
  return branches;
}

Result<std::vector<WeightLayer>> layers_in_scope(const Graph& graph, const std::string& method,
                                                 const std::string& scope,
                                                 const std::vector<std::string>& only,
                                                 const std::vector<std::string>& skip) {
  const std::vector<WeightLayer> layers = find_weight_layers(graph);
  if (layers.empty())
    return invalid_argument(
        fmt::format("{}: the model has no float32 weights of Conv, Gemm or MatMul", method));
  PARE_RETURN_IF_ERROR(check_layer_names(layers, skip, method + ", skip"));
  PARE_RETURN_IF_ERROR(check_layer_names(layers, only, method + ", only"));
  const std::set<int> branches = scope == "encoder" ? residual_branches(graph) : std::set<int>();
  std::vector<WeightLayer> left;
  std::set<std::string> seen;
  for (const WeightLayer& layer : layers) {
    const bool inside = scope != "encoder" || branches.contains(layer.node);
    const bool named = !only.empty() && is_named(layer, only);
    if (named && !inside)
      return invalid_argument(
          fmt::format("{}: layer '{}' is named by only, but scope={} leaves it out: it is on no "
                      "residual branch",
                      method, layer.name, scope));
    if (!inside || (!only.empty() && !named) || is_named(layer, skip)) continue;
    if (seen.insert(layer.weight).second) left.push_back(layer);
  }
  if (left.empty())
    return invalid_argument(
        fmt::format("{}: no layer is left of the model's {}: scope={}{}{}", method, layers.size(),
                    scope, only.empty() ? "" : fmt::format(", only={}", fmt::join(only, ";")),
                    skip.empty() ? "" : fmt::format(", skip={}", fmt::join(skip, ";"))));
  return left;
}

}  // namespace pare
