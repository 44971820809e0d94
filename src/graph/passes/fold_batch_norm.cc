#include <algorithm>
#include <cmath>

#include "graph/passes.h"
#include "graph/passes/matcher.h"

namespace pare {
namespace {

// What batch norm does to channel o in inference: y = scale[o] · x + shift[o].
struct Affine {
  std::vector<double> scale;
  std::vector<double> shift;
};

std::optional<Affine> batch_norm_affine(const Matcher& match, const Node& node) {
  const auto gamma = match.floats(node.inputs[1]);
  const auto beta = match.floats(node.inputs[2]);
  const auto mean = match.floats(node.inputs[3]);
  const auto variance = match.floats(node.inputs[4]);
  if (!gamma || !beta || !mean || !variance) return std::nullopt;
  const auto epsilon = static_cast<double>(node.float_attribute("epsilon", 1e-5F));
  Affine affine;
  for (size_t o = 0; o < gamma->size(); ++o) {
    const double scale = (*gamma)[o] / std::sqrt((*variance)[o] + epsilon);
    affine.scale.push_back(scale);
    affine.shift.push_back((*beta)[o] - (*mean)[o] * scale);
  }
  return affine;
}

// The layer whose result the batch norm alone reads, if its weights are constants: for Conv the
// output channel is axis 0 of the weights, for Gemm the one that is not summed over.
struct Target {
  size_t layer = 0;
  size_t before_norm = 0;  // the layer, or a max-pool between
  bool channel_first = true;
};

// The node that alone feeds `reader`; -1 for none.
int only_feeder(const Matcher& match, const Node& reader) {
  const std::string& value = reader.inputs[0];
  return match.only_reader(value) == &reader ? match.index().producer(value) : -1;
}

bool is_max_pool(const Node& node) {
  return node.domain.empty() && node.op == "MaxPool" && node.outputs.size() == 1;
}

std::optional<Target> find_target(const Matcher& match, const Node& norm) {
  const std::vector<Node>& nodes = match.graph().nodes;
  const int before = only_feeder(match, norm);
  if (before < 0) return std::nullopt;
  const bool pooled = is_max_pool(nodes[static_cast<size_t>(before)]);
  const int layer = pooled ? only_feeder(match, nodes[static_cast<size_t>(before)]) : before;
  if (layer < 0) return std::nullopt;
  const Node& node = nodes[static_cast<size_t>(layer)];
  const bool is_conv = node.domain.empty() && node.op == "Conv";
  const bool is_gemm = node.domain.empty() && node.op == "Gemm" &&
                       node.float_attribute("alpha", 1.0F) == 1.0F &&
                       node.float_attribute("beta", 1.0F) == 1.0F;
  if (!is_conv && !is_gemm) return std::nullopt;
  if (!match.floats(node.inputs[1])) return std::nullopt;
  if (node.has_input(2) && !match.floats(node.inputs[2])) return std::nullopt;
  return Target{static_cast<size_t>(layer), static_cast<size_t>(before),
                is_conv || node.int_attribute("transB", 0) != 0};
}

Result<Tensor> scaled_weights(const Tensor& weights, const Affine& affine, bool channel_first) {
  std::vector<float> values = to_float_vector(weights);
  const auto channels = static_cast<size_t>(channel_first ? weights.dim(0) : weights.dim(-1));
  const size_t inner = channel_first ? values.size() / std::max<size_t>(channels, 1) : 1;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(values[i] * affine.scale[i / inner % channels]);
  }
  return convert_floating(Tensor::from_values<float>(weights.shape(), values), weights.type());
}

Status fold(Graph& graph, const Matcher& match, size_t norm_index, const Target& target) {
  const Node norm = graph.nodes[norm_index];
  Node& layer = graph.nodes[target.layer];
  const auto affine = batch_norm_affine(match, norm);
  if (!affine) return ok_status();
  // The largest of a window stays the largest unless a negative scale turns the order round.
  const bool pooled = target.before_norm != target.layer;
  const auto negative = [](double scale) { return scale < 0; };
  if (pooled && std::any_of(affine->scale.begin(), affine->scale.end(), negative)) {
    return ok_status();
  }
  const Tensor weights = graph.initializers.at(layer.inputs[1]);
  // A Gemm may add anything that broadcasts; only one number a channel can be folded into.
  std::vector<float> bias(affine->scale.size(), 0.0F);
  if (layer.has_input(2)) {
    bias = *match.floats(layer.inputs[2]);
    if (bias.size() != affine->scale.size()) return ok_status();
  }
  PARE_ASSIGN_OR_RETURN(Tensor folded, scaled_weights(weights, *affine, target.channel_first));
  for (size_t o = 0; o < bias.size(); ++o) {
    bias[o] = static_cast<float>(bias[o] * affine->scale[o] + affine->shift[o]);
  }
  PARE_ASSIGN_OR_RETURN(
      Tensor folded_bias,
      convert_floating(Tensor::from_values<float>({static_cast<int64_t>(bias.size())}, bias),
                       weights.type()));
  layer.inputs[1] = replace_initializer(graph, match.index(), layer.inputs[1], std::move(folded));
  if (layer.has_input(2)) {
    layer.inputs[2] =
        replace_initializer(graph, match.index(), layer.inputs[2], std::move(folded_bias));
  } else {
    layer.inputs.resize(3);
    layer.inputs[2] = graph.fresh_name(layer.name + ".bias");
    graph.initializers[layer.inputs[2]] = std::move(folded_bias);
  }
  graph.nodes[target.before_norm].outputs[0] = norm.outputs[0];
  graph.nodes.erase(graph.nodes.begin() + static_cast<std::ptrdiff_t>(norm_index));
  return ok_status();
}

}  // namespace

Result<Graph> fold_batch_norm(Graph graph) {
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    const Node& node = graph.nodes[i];
    if (node.op != "BatchNormalization" || !node.domain.empty()) continue;
    const Matcher match(graph);
    const auto target = find_target(match, node);
    if (target) PARE_RETURN_IF_ERROR(fold(graph, match, i, *target));
  }
  remove_unused(graph);
  return graph;
}

}  // namespace pare
