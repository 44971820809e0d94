// int8-dynamic: dense layers in 8 bits, their activations' range measured while the model runs.
//
// Needs no images. Each Gemm or MatMul with constant weights becomes, as ONNX Runtime writes it,
//   DynamicQuantizeLinear(x) -> MatMulInteger(x, int8 weights) -> Cast -> Mul(x_scale * w_scale)
//   (-> Add(bias))
// with symmetric int8 weights, one scale a channel. One scale serves the whole batch (that is the
// operator's definition), so an image's answer can differ in the last digits with its neighbours.
// Convolutions stay float32: their activations are large and a second pass over them to find the
// range costs what integers would gain; `int8` is the method for those.
#include <fmt/format.h>

#include <algorithm>

#include "compress/layers.h"
#include "compress/method.h"
#include "compress/quantise_weights.h"
#include "graph/onnx_types.h"

namespace pare {
namespace {

// [O, I] -> [I, O]
Tensor transposed(const Tensor& weight) {
  Tensor result(weight.type(), {weight.dim(1), weight.dim(0)});
  const auto src = weight.values<float>();
  auto dst = result.mutable_values<float>();
  const auto rows = static_cast<size_t>(weight.dim(0));
  const auto columns = static_cast<size_t>(weight.dim(1));
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < columns; ++c) dst[c * rows + r] = src[r * columns + c];
  return result;
}

void scale_by(Tensor& tensor, float factor) {
  if (factor == 1.0F) return;
  for (float& v : tensor.mutable_values<float>()) v *= factor;
}

// Collects the nodes that take the place of one dense layer.
class Rewriter {
 public:
  Rewriter(Graph& graph, const WeightLayer& layer)
      : graph_(graph), layer_(layer), old_(graph.nodes[static_cast<size_t>(layer.node)]) {}

  std::vector<Node> nodes() {
    Tensor weight = *graph_.find_initializer(layer_.weight);
    if (layer_.channel_axis == 0) weight = transposed(weight);
    scale_by(weight, old_.float_attribute("alpha", 1.0F));
    const QuantisedWeights quantised = quantise_weights(weight, 1);
    const std::string integers = constant(".quantised", quantised.values);
    const std::string w_scale =
        constant(".scale", Tensor::from_values<float>({layer_.channels}, quantised.scales));

    const std::string x = value(".x");
    const std::string x_scale = value(".x_scale");
    const std::string x_zero_point = value(".x_zero_point");
    add("DynamicQuantizeLinear", {layer_.input}, {x, x_scale, x_zero_point});
    const std::string sums = value(".sums");
    add("MatMulInteger", {x, integers, x_zero_point}, {sums});
    const std::string sums_float = value(".sums_float");
    add("Cast", {sums}, {sums_float}).attributes["to"] = onnx_from_dtype(DType::kFloat32);
    const std::string scale = value(".output_scale");
    add("Mul", {x_scale, w_scale}, {scale});
    const bool biased = layer_.op == "Gemm" && old_.has_input(2);
    const std::string product = biased ? value(".product") : old_.outputs[0];
    add("Mul", {sums_float, scale}, {product});
    if (biased) add("Add", {product, bias()}, {old_.outputs[0]});
    return std::move(nodes_);
  }

 private:
  std::string constant(const std::string& suffix, Tensor tensor) {
    std::string name = graph_.fresh_name(layer_.name + suffix);
    graph_.initializers[name] = std::move(tensor);
    return name;
  }

  std::string value(const std::string& suffix) const {
    return graph_.fresh_name(layer_.name + suffix);
  }

  // Gemm's C, with beta in it.
  std::string bias() {
    const std::string& name = old_.inputs[2];
    const float beta = old_.float_attribute("beta", 1.0F);
    const Tensor* tensor = graph_.find_initializer(name);
    if (tensor == nullptr || beta == 1.0F) return name;
    Tensor scaled = *tensor;
    scale_by(scaled, beta);
    return constant(".bias", std::move(scaled));
  }

  Node& add(const std::string& op, std::vector<std::string> inputs,
            std::vector<std::string> outputs) {
    Node& node = nodes_.emplace_back();
    node.op = op;
    node.name = graph_.fresh_name(fmt::format("{}.{}{}", layer_.name, op, nodes_.size()));
    node.inputs = std::move(inputs);
    node.outputs = std::move(outputs);
    return node;
  }

  Graph& graph_;
  const WeightLayer& layer_;
  const Node old_;
  std::vector<Node> nodes_;
};

bool can_be_dynamic(const Graph& graph, const WeightLayer& layer) {
  const Node& node = graph.nodes[static_cast<size_t>(layer.node)];
  if (layer.op == "Conv" || node.int_attribute("transA", 0) != 0) return false;
  // A Gemm whose C is computed would need beta computed too.
  const bool computed_c =
      layer.op == "Gemm" && node.has_input(2) && graph.find_initializer(node.inputs[2]) == nullptr;
  return !computed_c || node.float_attribute("beta", 1.0F) == 1.0F;
}

Result<Graph> apply_int8_dynamic(const Graph& graph, const RecipeStep& step,
                                 CompressContext& context) {
  std::vector<WeightLayer> layers = find_weight_layers(graph);
  PARE_RETURN_IF_ERROR(check_layer_names(layers, step.names("skip"), "int8-dynamic, skip"));
  std::erase_if(layers, [&](const WeightLayer& layer) {
    return is_named(layer, step.names("skip")) || !can_be_dynamic(graph, layer);
  });
  if (layers.empty())
    return invalid_argument(
        "int8-dynamic: the model has no float32 dense layer (Gemm or MatMul "
        "with constant weights) to quantise");
  Graph result = graph;
  std::map<int, std::vector<Node>> replacements;
  int64_t weights = 0;
  for (const WeightLayer& layer : layers) {
    replacements[layer.node] = Rewriter(result, layer).nodes();
    weights += layer.size;
    context.report->layers.push_back(
        {{"layer", layer.name}, {"operation", layer.op}, {"weights", layer.size}});
  }
  std::vector<Node> nodes;
  for (size_t i = 0; i < result.nodes.size(); ++i) {
    const auto found = replacements.find(static_cast<int>(i));
    if (found == replacements.end()) {
      nodes.push_back(std::move(result.nodes[i]));
    } else {
      std::move(found->second.begin(), found->second.end(), std::back_inserter(nodes));
    }
  }
  result.nodes = std::move(nodes);
  remove_unused(result);
  context.report->summary =
      fmt::format("{} dense layers with {} weights in int8, activations quantised as they come",
                  layers.size(), weights);
  return result;
}

}  // namespace

Method make_int8_dynamic_method() {
  Method method;
  method.name = "int8-dynamic";
  method.summary = "int8 dense layers, activations quantised while running; needs no images";
  method.source = "ONNX: DynamicQuantizeLinear, MatMulInteger";
  method.stage = Stage::kQuantise;
  method.options = {
      {"skip", OptionSpec::Kind::kNames, "", 0, 0, {}, "layers to leave in float32"},
  };
  method.apply = apply_int8_dynamic;
  return method;
}

}  // namespace pare
