#include "graph/cost.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>

#include "base/numerals.h"

namespace pare {
namespace {

template <size_t kCount>
bool one_of(const std::string& op, const std::array<std::string_view, kCount>& names) {
  return std::find(names.begin(), names.end(), op) != names.end();
}

// Input 0's elements pass through unchanged or only rescaled.
bool passes_weight_on(const Node& node) {
  static constexpr std::array<std::string_view, 8> kNames = {
      "DequantizeLinear", "Cast",    "Transpose", "Reshape",
      "Identity",         "Squeeze", "Unsqueeze", "Expand"};
  return node.domain.empty() && one_of(node.op, kNames);
}

bool is_elementwise_pair(const std::string& op) {
  static constexpr std::array<std::string_view, 4> kNames = {"Add", "Sub", "Mul", "Div"};
  return one_of(op, kNames);
}

// Whether input i of the node is a place for learned numbers. Elementwise operators take biases,
// position embeddings and layer scales there, but a single number is a constant of the formula.
bool is_weight_place(const Node& node, size_t i, int64_t elements) {
  static constexpr std::array<std::string_view, 3> kAll = {"Gemm", "MatMul", "Concat"};
  static constexpr std::array<std::string_view, 4> kWeightAndBias = {"Conv", "BatchNormalization",
                                                                     "LayerNormalization", "PRelu"};
  if (one_of(node.op, kAll)) return true;
  if (one_of(node.op, kWeightAndBias)) return i == 1 || i == 2;
  if (node.op == "MatMulInteger" || node.op == "ConvInteger") return i <= 1;
  if (node.op == "Gather") return i == 0;
  return is_elementwise_pair(node.op) && elements > 1;
}

// Values whose elementwise partners are constants of the arithmetic, not weights: what is computed
// from the graph's inputs by scaling and shifting alone (preprocessing), and the scales that
// dynamic quantisation multiplies.
std::unordered_set<std::string> constant_arithmetic(const Graph& graph) {
  static constexpr std::array<std::string_view, 5> kNames = {"Cast", "Transpose", "QuantizeLinear",
                                                             "DequantizeLinear", "Identity"};
  std::unordered_set<std::string> values;
  for (const ValueInfo& input : graph.inputs) values.insert(input.name);
  for (const Node& node : graph.nodes) {
    if (node.op == "DynamicQuantizeLinear" && node.outputs.size() > 1) {
      values.insert(node.outputs[1]);
    }
    if (!one_of(node.op, kNames) && !is_elementwise_pair(node.op)) continue;
    const bool reads_one = std::any_of(node.inputs.begin(), node.inputs.end(),
                                       [&](const auto& v) { return values.contains(v); });
    const bool all_known = std::all_of(node.inputs.begin(), node.inputs.end(), [&](const auto& v) {
      return values.contains(v) || graph.initializers.contains(v);
    });
    if (reads_one && all_known) values.insert(node.outputs.begin(), node.outputs.end());
  }
  return values;
}

// From each value that is an initializer, or one passed on, to that initializer.
using Roots = std::unordered_map<std::string, std::string>;

Roots initializer_roots(const Graph& graph) {
  Roots roots;
  for (const auto& [value, tensor] : graph.initializers) {
    // Shapes and indices are int64; no weight is.
    if (tensor.type() != DType::kInt64 && tensor.type() != DType::kBool) roots[value] = value;
  }
  for (const Node& node : graph.nodes) {
    if (!passes_weight_on(node) || node.inputs.empty() || node.outputs.empty()) continue;
    const auto it = roots.find(node.inputs[0]);
    if (it != roots.end()) roots[node.outputs[0]] = std::string(it->second);
  }
  return roots;
}

// Calls visit(node index, initializer name) for each weight of each node, in order.
template <typename Visit>
void for_each_weight(const Graph& graph, Visit visit) {
  const Roots roots = initializer_roots(graph);
  const auto constant = constant_arithmetic(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (!node.outputs.empty() && constant.contains(node.outputs[0])) continue;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const auto it = roots.find(node.inputs[i]);
      if (it == roots.end()) continue;
      if (is_weight_place(node, i, graph.initializers.at(it->second).size())) visit(n, it->second);
    }
  }
}

int64_t product(const Shape& shape, size_t first, size_t last) {
  int64_t n = 1;
  for (size_t i = first; i < last; ++i) n *= shape[i];
  return n;
}

// A value has at most 2^40 elements, so two of them may make more multiplications than fit.
int64_t count_macs(const Node& node, const ValueInfos& infos) {
  const auto shape = [&](size_t i) -> const Shape& { return infos.at(node.inputs[i]).shape; };
  const Shape& out = infos.at(node.outputs[0]).shape;
  if (node.op == "Conv" || node.op == "ConvInteger") {
    return saturating_product({element_count(out), product(shape(1), 1, shape(1).size())});
  }
  if (node.op == "Gemm") {
    const Shape& a = shape(0);
    return saturating_product(
        {element_count(out), node.int_attribute("transA", 0) != 0 ? a[0] : a[1]});
  }
  if (node.op == "MatMul" || node.op == "MatMulInteger") {
    return saturating_product({element_count(out), shape(0).back()});
  }
  if (node.domain == "pare" && node.op == "Attention") {
    // q·kᵀ sums over the key width, p·v gives the value width; all heads together.
    const bool packed = node.inputs.size() == 1;
    const int64_t keys = shape(packed ? 0 : 1)[1];
    const int64_t key_width = packed ? shape(0)[2] / 3 : shape(0)[2];
    return saturating_product({product(out, 0, 2), keys, key_width + out[2]});
  }
  return 0;
}

}  // namespace

std::unordered_set<std::string> weight_initializers(const Graph& graph) {
  std::unordered_set<std::string> names;
  for_each_weight(graph, [&](size_t, const std::string& value) { names.insert(value); });
  return names;
}

Result<std::vector<NodeCost>> node_costs(const Graph& graph) {
  PARE_ASSIGN_OR_RETURN(const ValueInfos one_image, infer_shapes(graph, 1));
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph));
  // A graph of a fixed batch cannot be asked about one image.
  const Shape& input = graph.inputs[0].shape;
  const int64_t images = input.empty() || input[0] < 1 ? 1 : input[0];
  std::vector<NodeCost> costs(graph.nodes.size());
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    costs[i].macs = count_macs(graph.nodes[i], one_image) / images;
    costs[i].output_shape = infos.at(graph.nodes[i].outputs[0]).shape;
  }
  std::unordered_set<std::string> seen;
  for_each_weight(graph, [&](size_t n, const std::string& value) {
    if (!seen.insert(value).second) return;
    const Tensor& tensor = graph.initializers.at(value);
    costs[n].parameters += tensor.size();
    costs[n].weight_bytes += tensor.byte_count();
  });
  return costs;
}

}  // namespace pare
