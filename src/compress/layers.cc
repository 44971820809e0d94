#include "compress/layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace pare {
namespace {

bool is_bias(const Tensor* tensor, int64_t channels) {
  return tensor != nullptr && tensor->type() == DType::kFloat32 && tensor->rank() == 1 &&
         tensor->size() == channels;
}

// Finds the Add of a constant behind a MatMul.
void find_bias_behind(const Graph& graph, const GraphIndex& index, WeightLayer& layer) {
  const std::string& output = graph.nodes[static_cast<size_t>(layer.node)].outputs[0];
  const std::vector<int>& readers = index.consumers(output);
  if (readers.size() != 1 || index.is_output(output)) return;
  const Node& add = graph.nodes[static_cast<size_t>(readers[0])];
  if (add.op != "Add" || !add.domain.empty() || add.inputs.size() != 2) return;
  const std::string& other = add.inputs[0] == output ? add.inputs[1] : add.inputs[0];
  if (!is_bias(graph.find_initializer(other), layer.channels)) return;
  layer.bias = other;
  layer.bias_node = readers[0];
}

}  // namespace

std::vector<WeightLayer> find_weight_layers(const Graph& graph) {
  const GraphIndex index(graph);
  std::vector<WeightLayer> layers;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const bool dense = node.op == "Gemm" || node.op == "MatMul";
    if (!node.domain.empty() || (!dense && node.op != "Conv")) continue;
    if (!node.has_input(0) || !node.has_input(1)) continue;
    const Tensor* weight = graph.find_initializer(node.inputs[1]);
    if (weight == nullptr || weight->type() != DType::kFloat32 || weight->size() == 0) continue;
    if (dense && weight->rank() != 2) continue;
    if (!dense && weight->rank() < 3) continue;
    WeightLayer layer;
    layer.node = static_cast<int>(i);
    layer.name = node.name;
    layer.op = node.op;
    layer.input = node.inputs[0];
    layer.weight = node.inputs[1];
    layer.channel_axis = dense && node.int_attribute("transB", 0) == 0 ? 1 : 0;
    layer.channels = weight->dim(layer.channel_axis);
    layer.size = weight->size();
    if (node.op == "MatMul") {
      find_bias_behind(graph, index, layer);
    } else if (node.has_input(2) &&
               is_bias(graph.find_initializer(node.inputs[2]), layer.channels)) {
      layer.bias = node.inputs[2];
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

bool is_named(const WeightLayer& layer, const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(), [&layer](const std::string& name) {
    return name == layer.name || name == layer.weight;
  });
}

Status check_layer_names(const std::vector<WeightLayer>& layers,
                         const std::vector<std::string>& names, const std::string& option) {
  for (const std::string& name : names) {
    const bool known = std::any_of(layers.begin(), layers.end(), [&name](const WeightLayer& layer) {
      return name == layer.name || name == layer.weight;
    });
    if (known) continue;
    std::string there;
    for (const WeightLayer& layer : layers) there += (there.empty() ? "" : ", ") + layer.name;
    return invalid_argument(
        fmt::format("{}: the model has no weight layer '{}' (there are: {})", option, name, there));
  }
  return ok_status();
}

Status check_finite_weights(const Graph& graph) {
  for (const auto& [name, tensor] : graph.initializers) {
    if (!is_floating(tensor.type())) continue;
    const std::vector<float> values = to_float_vector(tensor);
    for (size_t i = 0; i < values.size(); ++i)
      if (!std::isfinite(values[i]))
        return numeric_error(
            fmt::format("weight '{}' ({}): element {} is {}, expected a finite number", name,
                        shape_string(tensor.shape()), i, values[i]));
  }
  return ok_status();
}

}  // namespace pare
