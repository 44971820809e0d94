#include "compress/qdq.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "graph/opset.h"

namespace pare {
namespace {

// Operators whose output consists of elements of their first input, all else being constant.
bool moves_values(const Node& node) {
  static const std::set<std::string> kMoving = {"MaxPool", "Flatten",   "Reshape", "Transpose",
                                                "Squeeze", "Unsqueeze", "Identity"};
  return node.domain.empty() && kMoving.contains(node.op) && node.outputs.size() == 1;
}

bool is_one_of(const std::string& op, std::initializer_list<const char*> ops) {
  return std::any_of(ops.begin(), ops.end(), [&op](const char* o) { return op == o; });
}

// The graph input that `value` is made of by a Cast and arithmetic with constants alone; empty if
// it is anything else. `cast_only`: was it nothing but a Cast from uint8?
std::string image_behind(const Graph& graph, const GraphIndex& index, std::string value,
                         bool* cast_only) {
  *cast_only = false;
  bool only_casts = true;
  while (true) {
    const int producer = index.producer(value);
    if (producer < 0) break;
    const Node& node = graph.nodes[static_cast<size_t>(producer)];
    if (node.op == "Cast") {
      value = node.inputs[0];
      continue;
    }
    if (!is_one_of(node.op, {"Mul", "Add", "Sub", "Div"})) return "";
    const bool first_constant = graph.find_initializer(node.inputs[0]) != nullptr;
    const bool second_constant = graph.find_initializer(node.inputs[1]) != nullptr;
    if (first_constant == second_constant) return "";
    value = node.inputs[first_constant ? 1 : 0];
    only_casts = false;
  }
  for (const ValueInfo& input : graph.inputs) {
    if (input.name != value) continue;
    *cast_only = only_casts && input.type == DType::kUInt8;
    return value;
  }
  return "";
}

// All nodes that are inserted into the graph, by the node they stand behind (-1: the front).
class Insertions {
 public:
  void after(int node, Node inserted) {
    taken_.insert(inserted.name);
    taken_.insert(inserted.outputs[0]);
    by_node_[node].push_back(std::move(inserted));
  }

  // A name that neither the graph nor an insertion has.
  std::string fresh_name(const Graph& graph, const std::string& stem) const {
    std::string name = graph.fresh_name(stem);
    for (int i = 2; taken_.contains(name); ++i)
      name = graph.fresh_name(fmt::format("{}.{}", stem, i));
    return name;
  }

  void apply(Graph& graph) {
    std::vector<Node> nodes = std::move(by_node_[-1]);
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      nodes.push_back(std::move(graph.nodes[i]));
      for (Node& inserted : by_node_[static_cast<int>(i)]) nodes.push_back(std::move(inserted));
    }
    graph.nodes = std::move(nodes);
  }

 private:
  std::map<int, std::vector<Node>> by_node_;
  std::set<std::string> taken_;
};

Node make_node(const std::string& op, const std::string& name, std::vector<std::string> inputs,
               const std::string& output) {
  Node node;
  node.op = op;
  node.name = name;
  node.inputs = std::move(inputs);
  node.outputs = {output};
  return node;
}

std::string add_initializer(Graph& graph, const std::string& stem, Tensor tensor) {
  std::string name = graph.fresh_name(stem);
  graph.initializers[name] = std::move(tensor);
  return name;
}

// Integers behind a DequantizeLinear, as they are written.
struct Constant {
  Tensor integers;
  Tensor scales;
  int64_t axis = 0;
  int64_t block_size = 0;  // 0: no blocks
  std::string name;        // of the initializer, once it is added
};

// initializer -> DequantizeLinear, at the front of the graph; returns the float value's name.
std::string add_constant(Graph& graph, Insertions& insertions, const std::string& stem,
                         Constant& constant) {
  const DType type = constant.integers.type();
  const Shape shape = constant.scales.shape();
  constant.name = add_initializer(graph, stem + ".quantised", std::move(constant.integers));
  std::vector<std::string> inputs = {
      constant.name, add_initializer(graph, stem + ".scale", std::move(constant.scales))};
  // ONNX knows no zero point for int32, and none is zero.
  if (type == DType::kInt8)
    inputs.push_back(add_initializer(graph, stem + ".zero_point", Tensor(type, shape)));
  std::string value = insertions.fresh_name(graph, stem + ".dequantised");
  Node node = make_node("DequantizeLinear", insertions.fresh_name(graph, stem + ".dequantise"),
                        std::move(inputs), value);
  node.attributes["axis"] = constant.axis;
  if (constant.block_size > 0) node.attributes["block_size"] = constant.block_size;
  insertions.after(-1, std::move(node));
  return value;
}

Tensor packed_int4(const Tensor& integers) {
  Tensor packed(DType::kInt4, integers.shape());
  std::byte* data = packed.mutable_data();
  const auto values = integers.values<int8_t>();
  for (size_t i = 0; i < values.size(); ++i) set_int4(data, static_cast<int64_t>(i), values[i]);
  return packed;
}

Constant weight_constant(const QuantisedWeights& weights, int bits, int channel_axis) {
  Constant constant;
  constant.integers = bits == 4 ? packed_int4(weights.values) : weights.values;
  const auto channels = static_cast<int64_t>(weights.scales.size());
  if (weights.group == 0) {
    constant.scales = Tensor::from_values<float>({channels}, weights.scales);
    constant.axis = channel_axis;
    return constant;
  }
  // A dense layer's: [O, groups] beside [O, I], [groups, O] beside [I, O].
  const int64_t groups = static_cast<int64_t>(weights.factors.size()) / channels;
  constant.axis = 1 - channel_axis;
  constant.block_size = weights.group;
  constant.scales = Tensor(DType::kFloat32,
                           channel_axis == 0 ? Shape{channels, groups} : Shape{groups, channels});
  auto scales = constant.scales.mutable_values<float>();
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t at = channel_axis == 0 ? c * groups + g : g * channels + c;
      scales[static_cast<size_t>(at)] =
          weights.scales[static_cast<size_t>(c)] *
          static_cast<float>(weights.factors[static_cast<size_t>(c * groups + g)]);
    }
  }
  return constant;
}

// Gemm's alpha and beta become part of the weights and the bias.
void fold_factors(Node& node, Tensor& weight, Tensor* bias) {
  if (node.op != "Gemm") return;
  const float alpha = node.float_attribute("alpha", 1.0F);
  const float beta = node.float_attribute("beta", 1.0F);
  if (alpha != 1.0F)
    for (float& w : weight.mutable_values<float>()) w *= alpha;
  if (bias != nullptr && beta != 1.0F) {
    for (float& b : bias->mutable_values<float>()) b *= beta;
    node.attributes["beta"] = 1.0F;
  }
  node.attributes["alpha"] = 1.0F;
}

// int32 values of a bias under scale x_scale * w_scale.
Tensor quantise_bias(const Tensor& bias, const std::vector<float>& scales) {
  Tensor result(DType::kInt32, bias.shape());
  const auto src = bias.values<float>();
  auto dst = result.mutable_values<int32_t>();
  for (size_t c = 0; c < dst.size(); ++c) {
    const double q = std::nearbyint(static_cast<double>(src[c]) / scales[c]);
    dst[c] = static_cast<int32_t>(
        std::clamp(q, -static_cast<double>(kLargestBias), static_cast<double>(kLargestBias)));
  }
  return result;
}

int64_t zero_channels(const Tensor& integers, int channel_axis) {
  std::vector<bool> alive(static_cast<size_t>(integers.dim(channel_axis)), false);
  const auto values = integers.values<int8_t>();
  for_each_weight(integers, channel_axis, [&](int64_t channel, int64_t i) {
    if (values[static_cast<size_t>(i)] != 0) alive[static_cast<size_t>(channel)] = true;
  });
  return std::count(alive.begin(), alive.end(), false);
}

// Writes weight and bias of one layer as integers.
Result<LayerScales> write_layer(const WeightLayer& layer, const ActivationScale& input,
                                const WeightRule& rule, Graph& graph, Insertions& insertions) {
  Node& node = graph.nodes[static_cast<size_t>(layer.node)];
  Tensor weight = *graph.find_initializer(layer.weight);
  Tensor bias;
  if (!layer.bias.empty()) bias = *graph.find_initializer(layer.bias);
  fold_factors(node, weight, bias.empty() ? nullptr : &bias);

  LayerScales result;
  result.input = input;
  std::vector<float> smallest;
  if (!bias.empty())
    for (const float b : bias.values<float>())
      smallest.push_back(std::fabs(b) / (input.scale * static_cast<float>(kLargestBias)));
  WeightFormat format = rule.format;
  if (layer.op == "Conv") format.group = 0;
  PARE_ASSIGN_OR_RETURN(result.weights,
                        quantise_weights(weight, layer, format, smallest, rule.round));
  result.weight_snr_db = rounding_snr_db(weight, result.weights, layer.channel_axis);
  result.zero_channels = zero_channels(result.weights.values, layer.channel_axis);

  Constant constant = weight_constant(result.weights, format.bits, layer.channel_axis);
  node.inputs[1] = add_constant(graph, insertions, layer.weight, constant);
  if (bias.empty()) return result;
  for (const float w_scale : result.weights.scales)
    result.bias_scales.push_back(input.scale * w_scale);
  Constant bias_constant;
  bias_constant.integers = quantise_bias(bias, result.bias_scales);
  bias_constant.scales = Tensor::from_values<float>({layer.channels}, result.bias_scales);
  const std::string value = add_constant(graph, insertions, layer.bias, bias_constant);
  result.bias = bias_constant.name;
  Node& reader = layer.bias_node >= 0 ? graph.nodes[static_cast<size_t>(layer.bias_node)] : node;
  std::replace(reader.inputs.begin(), reader.inputs.end(), layer.bias, value);
  return result;
}

}  // namespace

QdqPlan plan_qdq(const Graph& graph, const std::vector<WeightLayer>& layers) {
  const GraphIndex index(graph);
  QdqPlan plan;
  std::set<int> integer_nodes;
  std::set<std::string> quantised;
  for (const WeightLayer& layer : layers) {
    integer_nodes.insert(layer.node);
    quantised.insert(layer.input);
  }
  // Backwards: a node is seen after all its readers, so one sweep finds every chain.
  for (int i = static_cast<int>(graph.nodes.size()) - 1; i >= 0; --i) {
    const Node& node = graph.nodes[static_cast<size_t>(i)];
    if (!moves_values(node) || !quantised.contains(node.outputs[0])) continue;
    if (index.is_output(node.outputs[0]) || graph.find_initializer(node.inputs[0])) continue;
    const std::vector<int>& readers = index.consumers(node.outputs[0]);
    const bool all_integer = std::all_of(readers.begin(), readers.end(),
                                         [&](int r) { return integer_nodes.contains(r); });
    if (!all_integer) continue;
    integer_nodes.insert(i);
    plan.moving_nodes.insert(i);
    quantised.insert(node.inputs[0]);
  }
  for (const std::string& value : quantised) {
    std::string root = value;
    for (int p = index.producer(root); p >= 0 && plan.moving_nodes.contains(p);
         p = index.producer(root))
      root = graph.nodes[static_cast<size_t>(p)].inputs[0];
    plan.roots[value] = root;
    bool cast_only = false;
    const std::string image = image_behind(graph, index, root, &cast_only);
    if (image.empty()) continue;
    if (cast_only) {
      plan.exact_images[root] = image;
    } else {
      plan.scaled_images.insert(root);
    }
  }
  return plan;
}

void add_outputs(const Graph& graph, const std::vector<std::string>& values, QdqPlan& plan) {
  const GraphIndex index(graph);
  for (const std::string& value : values) {
    if (index.is_output(value)) continue;
    plan.roots.emplace(value, value);
    plan.for_all_readers.insert(value);
  }
}

namespace {

// QuantizeLinear (none for an image that is uint8 already) and DequantizeLinear behind a value;
// returns the name of what comes out.
std::string write_pair(const Graph& graph, const GraphIndex& index, Insertions& insertions,
                       const QdqPlan& plan, const std::string& value,
                       const std::vector<std::string>& parameters) {
  const int producer = index.producer(value);
  const auto image = plan.exact_images.find(value);
  std::string integers;
  if (image != plan.exact_images.end()) {
    integers = image->second;
  } else {
    integers = insertions.fresh_name(graph, value + ".quantised");
    insertions.after(producer,
                     make_node("QuantizeLinear", insertions.fresh_name(graph, value + ".quantise"),
                               {value, parameters[0], parameters[1]}, integers));
  }
  std::string floats = insertions.fresh_name(graph, value + ".dequantised");
  insertions.after(
      producer, make_node("DequantizeLinear", insertions.fresh_name(graph, value + ".dequantise"),
                          {integers, parameters[0], parameters[1]}, floats));
  return floats;
}

}  // namespace

Result<std::vector<LayerScales>> write_qdq(const std::vector<WeightLayer>& layers,
                                           const QdqPlan& plan,
                                           const std::map<std::string, ActivationScale>& scales,
                                           const std::vector<WeightRule>& rules, Graph& graph) {
  const GraphIndex index(graph);
  Insertions insertions;
  std::vector<LayerScales> written;
  for (size_t i = 0; i < layers.size(); ++i) {
    const ActivationScale& input = scales.at(plan.roots.at(layers[i].input));
    PARE_ASSIGN_OR_RETURN(written.emplace_back(),
                          write_layer(layers[i], input, rules[i], graph, insertions));
  }
  const bool small = std::any_of(rules.begin(), rules.end(),
                                 [](const WeightRule& rule) { return rule.format.bits == 4; });
  if (small) raise_opset(graph, 21);  // where 4-bit types and scales in blocks are new

  std::set<int> integer_nodes = plan.moving_nodes;
  for (const WeightLayer& layer : layers) integer_nodes.insert(layer.node);
  std::map<std::string, std::vector<std::string>> parameters;  // by root: scale, zero point
  for (const auto& [value, root] : plan.roots) {
    if (!parameters.contains(root)) {
      const ActivationScale& scale = scales.at(root);
      const auto zero_point = static_cast<uint8_t>(scale.zero_point);
      parameters[root] = {
          add_initializer(graph, root + ".scale", Tensor::scalar<float>(scale.scale)),
          add_initializer(graph, root + ".zero_point", Tensor::scalar<uint8_t>(zero_point))};
    }
    const std::string floats = write_pair(graph, index, insertions, plan, value, parameters[root]);
    for (const int reader : index.consumers(value)) {
      const bool integer = integer_nodes.contains(reader);
      if (!integer && !plan.for_all_readers.contains(value)) continue;
      Node& node = graph.nodes[static_cast<size_t>(reader)];
      // An integer node's other inputs are constants; its activation is the first.
      const size_t count = integer ? 1 : node.inputs.size();
      for (size_t i = 0; i < count; ++i)
        if (node.inputs[i] == value) node.inputs[i] = floats;
    }
  }
  insertions.apply(graph);
  remove_unused(graph);
  return written;
}

}  // namespace pare
