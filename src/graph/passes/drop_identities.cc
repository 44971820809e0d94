#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>

#include "graph/onnx_types.h"
#include "graph/operators.h"
#include "graph/passes.h"
#include "graph/passes/matcher.h"
#include "graph/shapes.h"

namespace pare {
namespace {

bool all_equal(const std::vector<int64_t>& values, int64_t expected) {
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == expected; });
}

bool is_one_pixel_pool(const Node& node) {
  return all_equal(node.ints_attribute("kernel_shape"), 1) &&
         all_equal(node.ints_attribute("strides", {1, 1}), 1) &&
         all_equal(node.ints_attribute("pads", {0, 0, 0, 0}), 0) &&
         node.string_attribute("auto_pad", "NOTSET") == "NOTSET";
}

bool keeps_order(const Node& node) {
  const auto perm = node.ints_attribute("perm");
  return !perm.empty() && std::is_sorted(perm.begin(), perm.end());
}

// Whether output 0 is input 0, element for element.
bool changes_nothing(const Node& node, const ValueInfos& infos) {
  static constexpr std::array<std::string_view, 5> kReshapes = {"Reshape", "Flatten", "Squeeze",
                                                                "Unsqueeze", "Expand"};
  static constexpr std::array<std::string_view, 4> kJoins = {"Concat", "Sum", "Min", "Max"};
  const auto one_of = [&](const auto& names) {
    return std::find(names.begin(), names.end(), node.op) != names.end();
  };
  if (!node.domain.empty() || node.inputs.empty()) return false;
  const ValueInfo& in = infos.at(node.inputs[0]);
  if (node.op == "Identity") return true;
  if (node.op == "Dropout") return true;
  if (node.op == "Cast") {
    return node.int_attribute("to", 0) == onnx_from_dtype(in.type);
  }
  if (node.op == "Transpose") return keeps_order(node);
  if (node.op == "MaxPool" || node.op == "AveragePool") return is_one_pixel_pool(node);
  if (one_of(kReshapes)) return infos.at(node.outputs[0]).shape == in.shape;
  return one_of(kJoins) && node.inputs.size() == 1;
}

// A Dropout in training mode, or one whose mask is read, is not ours to drop.
bool is_plain_dropout(const Graph& graph, const GraphIndex& index, const Node& node) {
  if (node.outputs.size() > 1 &&
      (!index.consumers(node.outputs[1]).empty() || index.is_output(node.outputs[1]))) {
    return false;
  }
  if (!node.has_input(2)) return true;
  const Tensor* training = graph.find_initializer(node.inputs[2]);
  return training != nullptr && training->size() == 1 && to_float_vector(*training)[0] == 0.0F;
}

// A node that writes a graph output goes only when the node before it can write that output
// instead.
void bypass_output(Graph& graph, size_t i) {
  const GraphIndex index(graph);
  const std::string from = graph.nodes[i].outputs[0];
  const std::string to = graph.nodes[i].inputs[0];
  const int writer = index.producer(to);
  if (writer < 0 || index.is_output(to)) return;
  for (std::string& value : graph.nodes[static_cast<size_t>(writer)].outputs) {
    if (value == to) value = from;
  }
  graph.nodes.erase(graph.nodes.begin() + static_cast<std::ptrdiff_t>(i));
  redirect(graph, to, from);
}

// Transpose(Transpose(x)) becomes one, which may then be none.
void merge_transposes(Graph& graph) {
  const Matcher match(graph);
  for (Node& node : graph.nodes) {
    if (node.op != "Transpose" || !node.domain.empty()) continue;
    const Node* before = match.producer(node.inputs[0], "Transpose");
    const auto outer = node.ints_attribute("perm");
    const auto inner = before == nullptr ? outer : before->ints_attribute("perm");
    if (before == nullptr || outer.empty() || inner.size() != outer.size()) continue;
    std::vector<int64_t> perm;
    perm.reserve(outer.size());
    for (int64_t axis : outer) perm.push_back(inner[static_cast<size_t>(axis)]);
    node.attributes["perm"] = perm;
    node.inputs[0] = before->inputs[0];
  }
}

}  // namespace

Result<Graph> drop_identities(Graph graph) {
  // One concrete batch tells shapes apart that would all read "N".
  PARE_ASSIGN_OR_RETURN(const Inference inference, infer_concrete(graph, kFirstBatch));
  merge_transposes(graph);
  const GraphIndex index(graph);
  std::unordered_map<std::string, std::string> same_as;
  std::vector<Node> kept;
  std::vector<std::string> outputs_to_bypass;
  for (Node& node : graph.nodes) {
    for (std::string& value : node.inputs) {
      if (const auto it = same_as.find(value); it != same_as.end()) value = it->second;
    }
    const bool drop = changes_nothing(node, inference.infos) &&
                      (node.op != "Dropout" || is_plain_dropout(graph, index, node));
    if (drop && !index.is_output(node.outputs[0])) {
      same_as[node.outputs[0]] = node.inputs[0];
      continue;
    }
    if (drop) outputs_to_bypass.push_back(node.outputs[0]);
    kept.push_back(std::move(node));
  }
  graph.nodes = std::move(kept);
  for (const std::string& output : outputs_to_bypass) {
    bypass_output(graph, static_cast<size_t>(GraphIndex(graph).producer(output)));
  }
  remove_unused(graph);
  return graph;
}

}  // namespace pare
