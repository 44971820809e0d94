// What removed units gave on average goes into the biases of those that read them: see shrink.h.
#include <algorithm>
#include <map>
#include <utility>

#include "compress/shrink.h"
#include "compress/unit_readers.h"

namespace pare {
namespace {

// By output of the layer: what the removed places added to it on average.
std::vector<double> mean_lost(const Graph& graph, const UnitReader& reader,
                              const std::vector<double>& means, const std::vector<bool>& removed) {
  const WeightLayer& layer = reader.layer;
  const Tensor& weight = graph.initializers.at(layer.weight);
  const auto w = weight.values<float>();
  const int64_t outputs = layer.channels;
  const int64_t columns = weight.dim(reader.column_axis);
  const int64_t kernel = weight.size() / (outputs * columns);
  const int64_t groups = static_cast<int64_t>(reader.units.size()) / columns;
  std::vector<double> lost(static_cast<size_t>(outputs), 0.0);
  for (int64_t o = 0; o < outputs; ++o) {
    const int64_t first_place = o / (outputs / groups) * columns;
    for (int64_t c = 0; c < columns; ++c) {
      const auto place = static_cast<size_t>(first_place + c);
      const int32_t unit = reader.units[place];
      if (unit == kNoUnit || !removed[static_cast<size_t>(unit)]) continue;
      const int64_t at = layer.channel_axis == 0 ? (o * columns + c) * kernel : c * outputs + o;
      double sum = 0;
      for (int64_t k = 0; k < kernel; ++k)
        sum += static_cast<double>(w[static_cast<size_t>(at + k)]);
      lost[static_cast<size_t>(o)] += means[place] * sum;
    }
  }
  return lost;
}

// Adds to a layer's output by a node behind it.
void add_behind(Graph& graph, const WeightLayer& layer, const std::vector<double>& amount,
                double alpha) {
  Node& node = graph.nodes[static_cast<size_t>(layer.node)];
  Shape shape = {layer.channels};
  if (layer.op == "Conv")
    shape.resize(static_cast<size_t>(graph.initializers.at(layer.weight).rank() - 1), 1);
  Tensor bias(DType::kFloat32, shape);
  auto values = bias.mutable_values<float>();
  for (size_t o = 0; o < values.size(); ++o) values[o] = static_cast<float>(amount[o] * alpha);
  Node add;
  add.op = "Add";
  add.name = graph.fresh_name(layer.name + ".add");
  add.outputs = node.outputs;
  node.outputs[0] = graph.fresh_name(layer.name + ".product");
  const std::string name = graph.fresh_name(layer.name + ".bias");
  add.inputs = {node.outputs[0], name};
  graph.initializers[name] = std::move(bias);
  graph.nodes.insert(graph.nodes.begin() + layer.node + 1, std::move(add));
}

// Adds to a layer's output by way of its bias, which becomes its own where others read it too.
void add_to_bias(Graph& graph, const WeightLayer& layer, const std::vector<double>& amount) {
  Tensor bias(DType::kFloat32, {layer.channels});
  Node& node = graph.nodes[static_cast<size_t>(layer.node)];
  const bool gemm = layer.op == "Gemm";
  // y = alpha · x W + beta · bias.
  const double alpha = gemm ? node.float_attribute("alpha", 1) : 1;
  const double beta = gemm && !layer.bias.empty() ? node.float_attribute("beta", 1) : 1;
  // One that is computed, of another shape, or multiplied by zero is not the layer's to change.
  const bool behind = layer.op == "MatMul" ? layer.bias.empty()
                                           : node.has_input(2) && (layer.bias.empty() || beta == 0);
  if (behind) return add_behind(graph, layer, amount, alpha);
  if (!layer.bias.empty()) bias = graph.initializers.at(layer.bias);
  auto values = bias.mutable_values<float>();
  for (size_t o = 0; o < values.size(); ++o)
    values[o] = static_cast<float>(values[o] + amount[o] * alpha / beta);
  if (!layer.bias.empty() && GraphIndex(graph).consumers(layer.bias).size() == 1) {
    graph.initializers[layer.bias] = std::move(bias);
    return;
  }
  const std::string name = graph.fresh_name(layer.name + ".bias");
  graph.initializers[name] = std::move(bias);
  if (!layer.bias.empty()) {
    Node& adds = layer.bias_node < 0 ? node : graph.nodes[static_cast<size_t>(layer.bias_node)];
    std::replace(adds.inputs.begin(), adds.inputs.end(), layer.bias, name);
  } else {
    node.inputs.resize(2);
    node.inputs.push_back(name);
    if (gemm) node.attributes["beta"] = 1.0F;
  }
}

// Of values one an output, those of the outputs that are left.
std::vector<double> left_of(const std::vector<double>& values, const WeightLayer& layer,
                            const Couplings& couplings, const std::vector<bool>& removed) {
  const auto found = couplings.units_along.find(layer.weight);
  if (found == couplings.units_along.end() || !found->second.contains(layer.channel_axis))
    return values;
  const std::vector<int32_t>& units = found->second.at(layer.channel_axis);
  std::vector<double> left;
  for (size_t o = 0; o < values.size(); ++o)
    if (units[o] == kNoUnit || !removed[static_cast<size_t>(units[o])]) left.push_back(values[o]);
  return left;
}

}  // namespace

Result<Graph> move_means_into_biases(const Graph& graph, Graph shrunk, const Couplings& couplings,
                                     const std::vector<bool>& removed,
                                     const std::map<std::string, Moments>& moments) {
  PARE_ASSIGN_OR_RETURN(const std::vector<UnitReader> readers, find_unit_readers(graph, couplings));
  for (const UnitReader& reader : readers) {
    const bool loses = std::any_of(reader.units.begin(), reader.units.end(), [&](int32_t unit) {
      return unit != kNoUnit && removed[static_cast<size_t>(unit)];
    });
    if (!loses) continue;
    const std::vector<double> lost =
        mean_lost(graph, reader, moments.at(reader.layer.input).mean, removed);
    // Found again each time: nodes that are put in move those behind them.
    for (const WeightLayer& layer : find_weight_layers(shrunk))
      if (layer.name == reader.layer.name)
        add_to_bias(shrunk, layer, left_of(lost, reader.layer, couplings, removed));
  }
  PARE_RETURN_IF_ERROR(check_graph(shrunk));
  return shrunk;
}

}  // namespace pare
