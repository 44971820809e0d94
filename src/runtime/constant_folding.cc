#include "runtime/constant_folding.h"

#include <unordered_set>
#include <utility>
#include <vector>

#include "runtime/planner.h"

namespace pare {
namespace {

bool keeps_small(const Node& node, const Graph& graph) {
  const Tensor* t = node.inputs.empty() ? nullptr : graph.find_initializer(node.inputs[0]);
  if (t == nullptr) return false;
  if (node.op == "DequantizeLinear") return true;
  return node.op == "Cast" && is_floating(t->type()) && dtype_bits(t->type()) == 16;
}

// Which nodes read constants only, in the graph's order.
std::vector<bool> constant_nodes(const Graph& graph, const ValueInfos& infos) {
  std::unordered_set<std::string> constants;
  const auto is_constant = [&](const std::string& v) {
    return v.empty() || graph.initializers.contains(v) || constants.contains(v);
  };
  std::vector<bool> result(graph.nodes.size(), false);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    bool folds = !keeps_small(node, graph);
    int64_t read = kMaxFoldedGrowth;
    for (const std::string& input : node.inputs) {
      folds = folds && is_constant(input);
      if (folds && !input.empty()) read += element_count(infos.at(input).shape);
    }
    for (const std::string& output : node.outputs) {
      folds = folds && !output.empty() && element_count(infos.at(output).shape) <= read;
    }
    if (!folds) continue;
    result[i] = true;
    constants.insert(node.outputs.begin(), node.outputs.end());
  }
  return result;
}

}  // namespace

Result<Graph> fold_constants(Graph graph) {
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph, 1));
  const std::vector<bool> folds = constant_nodes(graph, infos);
  Graph constant;
  constant.name = graph.name;
  constant.opset = graph.opset;
  Graph rest = graph;
  rest.nodes.clear();
  std::unordered_set<std::string> made;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    (folds[i] ? constant : rest).nodes.push_back(node);
    if (!folds[i]) continue;
    made.insert(node.outputs.begin(), node.outputs.end());
    for (const std::string& input : node.inputs) {
      if (const Tensor* t = graph.find_initializer(input)) constant.initializers[input] = *t;
    }
  }
  if (constant.nodes.empty()) return graph;
  std::unordered_set<std::string> wanted;
  const auto want = [&](const std::string& value) {
    if (made.contains(value) && wanted.insert(value).second) {
      constant.outputs.push_back(infos.at(value));
    }
  };
  for (const Node& node : rest.nodes) {
    for (const std::string& input : node.inputs) want(input);
  }
  for (const ValueInfo& output : graph.outputs) want(output.name);
  PARE_ASSIGN_OR_RETURN(const std::vector<Tensor> values, evaluate_reference(constant));
  for (size_t i = 0; i < values.size(); ++i) {
    rest.initializers[constant.outputs[i].name] = values[i];
  }
  remove_unused(rest);
  return rest;
}

}  // namespace pare
