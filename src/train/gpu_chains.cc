#include "train/gpu_chains.h"

#include <algorithm>
#include <string>
#include <unordered_map>

namespace pare {
namespace {

class Readers {
 public:
  explicit Readers(const Graph& graph) : graph_(graph) {
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      const Node& node = graph.nodes[n];
      for (const std::string& input : node.inputs) {
        ++count_[input];
        reader_[input] = static_cast<int>(n);
      }
      for (const std::string& output : node.outputs) writer_[output] = static_cast<int>(n);
    }
    for (const ValueInfo& output : graph.outputs) ++count_[output.name];
  }

  // The only node that reads `value`, if it is an `op` and has one output; else -1.
  int only_reader(const std::string& value, const char* op) const {
    const auto it = reader_.find(value);
    if (it == reader_.end() || count_.at(value) != 1) return -1;
    const Node& node = graph_.nodes[static_cast<size_t>(it->second)];
    const bool plain =
        node.domain.empty() && node.op == op && node.outputs.size() == 1 && node.inputs[0] == value;
    return plain ? it->second : -1;
  }

  // The only node that reads `value`, whichever; else -1.
  int only_reader(const std::string& value) const {
    const auto it = reader_.find(value);
    return it == reader_.end() || count_.at(value) != 1 ? -1 : it->second;
  }

  // The Conv or Gemm with a bias that makes `value` for one reader alone; else -1.
  int product_of(const std::string& value) const {
    const auto it = writer_.find(value);
    if (it == writer_.end() || count_.at(value) != 1) return -1;
    const Node& node = graph_.nodes[static_cast<size_t>(it->second)];
    const bool product = node.domain.empty() && (node.op == "Conv" || node.op == "Gemm");
    if (!product || !node.has_input(2)) return -1;
    const Tensor* bias = graph_.find_initializer(node.inputs[2]);
    const bool plain = node.op == "Conv" || node.float_attribute("beta", 1.0F) == 1.0F;
    return plain && bias != nullptr && bias->shape().size() == 1 ? it->second : -1;
  }

 private:
  const Graph& graph_;
  std::unordered_map<std::string, int> count_;
  std::unordered_map<std::string, int> reader_;
  std::unordered_map<std::string, int> writer_;
};

// Adds the pooling if the kernel has its kind.
void add_pool(const Graph& graph, int node_index, NormChain& chain) {
  constexpr int64_t kLargestWindow = 15;  // places are counted in bytes
  if (node_index < 0) return;
  const Node& node = graph.nodes[static_cast<size_t>(node_index)];
  const std::vector<int64_t> window = node.ints_attribute("kernel_shape");
  const std::vector<int64_t> strides = node.ints_attribute("strides", {1, 1});
  const auto all = [&node](const char* attribute, size_t count, int64_t value) {
    const std::vector<int64_t> values =
        node.ints_attribute(attribute, std::vector<int64_t>(count, value));
    return std::all_of(values.begin(), values.end(), [value](int64_t v) { return v == value; });
  };
  const bool square = window.size() == 2 && window[0] == window[1] && strides.size() == 2 &&
                      strides[0] == strides[1] && window[0] <= kLargestWindow;
  if (!square || !all("pads", 4, 0) || !all("dilations", 2, 1) ||
      node.int_attribute("ceil_mode", 0) != 0 ||
      node.string_attribute("auto_pad", "NOTSET") != "NOTSET") {
    return;
  }
  chain.pool = node_index;
  chain.window = static_cast<int>(window[0]);
  chain.stride = static_cast<int>(strides[0]);
}

std::optional<NormChain> norm_chain(const Graph& graph, const Readers& readers, int index) {
  const Node& node = graph.nodes[static_cast<size_t>(index)];
  if (node.op != "BatchNormalization" || node.outputs.size() != 1) return std::nullopt;
  const bool constants = std::all_of(
      node.inputs.begin() + 1, node.inputs.end(),
      [&graph](const std::string& name) { return graph.find_initializer(name) != nullptr; });
  if (!constants) return std::nullopt;
  NormChain chain;
  chain.norm = index;
  chain.product = readers.product_of(node.inputs[0]);
  chain.relu = readers.only_reader(node.outputs[0], "Relu");
  if (chain.relu >= 0) {
    const Node& relu = graph.nodes[static_cast<size_t>(chain.relu)];
    add_pool(graph, readers.only_reader(relu.outputs[0], "MaxPool"), chain);
  }
  return chain;
}

std::optional<DenseChain> dense_chain(const Graph& graph, const Readers& readers, int index) {
  const Node& node = graph.nodes[static_cast<size_t>(index)];
  if (node.op != "MatMul") return std::nullopt;
  const Tensor* weight = graph.find_initializer(node.inputs[1]);
  if (weight == nullptr || weight->shape().size() != 2) return std::nullopt;
  DenseChain chain;
  chain.product = index;
  chain.add = readers.only_reader(node.outputs[0]);
  if (chain.add < 0) return std::nullopt;
  const Node& add = graph.nodes[static_cast<size_t>(chain.add)];
  if (!add.domain.empty() || add.op != "Add") return std::nullopt;
  chain.bias_first = add.inputs[1] == node.outputs[0];
  const Tensor* bias = graph.find_initializer(add.inputs[chain.bias_first ? 0 : 1]);
  if (bias == nullptr || bias->shape() != Shape{weight->shape()[1]}) return std::nullopt;
  return chain;
}

// The number that `node` multiplies `value` by, if it is one.
std::optional<double> factor_of(const Graph& graph, const Node& node, const std::string& value) {
  if (!node.domain.empty() || node.op != "Mul") return std::nullopt;
  const Tensor* other = graph.find_initializer(node.inputs[node.inputs[0] == value ? 1 : 0]);
  if (other == nullptr || other->size() != 1 || other->type() != DType::kFloat32) {
    return std::nullopt;
  }
  return static_cast<double>(other->values<float>()[0]);
}

std::optional<AttentionChain> attention_chain(const Graph& graph, const Readers& readers,
                                              int index) {
  const Node& scores = graph.nodes[static_cast<size_t>(index)];
  if (scores.op != "MatMul" || graph.find_initializer(scores.inputs[0]) != nullptr ||
      graph.find_initializer(scores.inputs[1]) != nullptr) {
    return std::nullopt;
  }
  AttentionChain chain;
  chain.scores = index;
  std::string value = scores.outputs[0];
  if (const int next = readers.only_reader(value); next >= 0) {
    const Node& node = graph.nodes[static_cast<size_t>(next)];
    if (const auto factor = factor_of(graph, node, value)) {
      chain.scale = next;
      chain.factor = *factor;
      value = node.outputs[0];
    }
  }
  chain.softmax = readers.only_reader(value, "Softmax");
  if (chain.softmax < 0) return std::nullopt;
  const Node& softmax = graph.nodes[static_cast<size_t>(chain.softmax)];
  if (softmax.int_attribute("axis", -1) != -1) return std::nullopt;
  value = softmax.outputs[0];
  chain.dropout = readers.only_reader(value, "Dropout");
  if (chain.dropout >= 0) {
    value = graph.nodes[static_cast<size_t>(chain.dropout)].outputs[0];
  }
  chain.context = readers.only_reader(value, "MatMul");
  if (chain.context < 0) return std::nullopt;
  return chain;
}

}  // namespace

std::vector<int> NormChain::nodes() const {
  std::vector<int> out;
  for (const int node : {product, norm, relu, pool}) {
    if (node >= 0) out.push_back(node);
  }
  return out;
}

std::vector<int> AttentionChain::nodes() const {
  std::vector<int> out;
  for (const int node : {scores, scale, softmax, dropout, context}) {
    if (node >= 0) out.push_back(node);
  }
  return out;
}

std::vector<int> chain_nodes(const GpuChain& chain) {
  return std::visit([](const auto& c) { return c.nodes(); }, chain);
}

std::vector<GpuChain> find_gpu_chains(const Graph& graph) {
  const Readers readers(graph);
  std::vector<GpuChain> chains;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (!graph.nodes[n].domain.empty()) continue;
    const int index = static_cast<int>(n);
    if (const auto norm = norm_chain(graph, readers, index)) chains.emplace_back(*norm);
    const Node& node = graph.nodes[n];
    if (node.op == "LayerNormalization" && node.int_attribute("axis", -1) == -1 &&
        node.has_input(2) && node.outputs.size() == 1) {
      chains.emplace_back(LayerNormChain{index});
    }
    if (const auto dense = dense_chain(graph, readers, index)) chains.emplace_back(*dense);
    if (const auto attention = attention_chain(graph, readers, index)) {
      chains.emplace_back(*attention);
    }
  }
  return chains;
}

std::optional<PixelPath> find_pixel_path(const Graph& graph) {
  const Readers readers(graph);
  if (graph.inputs.size() != 1 || graph.inputs[0].type != DType::kUInt8) return std::nullopt;
  PixelPath path;
  std::string value = graph.inputs[0].name;
  std::string* const constants[] = {nullptr, &path.scale, &path.shift};
  const char* const operators[] = {"Cast", "Mul", "Add"};
  for (size_t i = 0; i < 3; ++i) {
    const int index = readers.only_reader(value);
    if (index < 0) return std::nullopt;
    const Node& node = graph.nodes[static_cast<size_t>(index)];
    if (!node.domain.empty() || node.op != operators[i]) return std::nullopt;
    if (constants[i] == nullptr) {
      constexpr int64_t kFloat = 1;  // of TensorProto.DataType
      if (node.int_attribute("to", 0) != kFloat) return std::nullopt;
    } else {
      *constants[i] = node.inputs[0] == value ? node.inputs[1] : node.inputs[0];
    }
    path.nodes.push_back(index);
    value = node.outputs[0];
  }
  path.conv = readers.only_reader(value, "Conv");
  if (path.conv < 0) return std::nullopt;
  const Node& conv = graph.nodes[static_cast<size_t>(path.conv)];
  const Tensor* weight = graph.find_initializer(conv.inputs[1]);
  if (weight == nullptr || weight->shape().size() != 4 || conv.int_attribute("group", 1) != 1 ||
      conv.string_attribute("auto_pad", "NOTSET") != "NOTSET") {
    return std::nullopt;
  }
  const std::vector<int64_t> dilations = conv.ints_attribute("dilations", {1, 1});
  if (dilations != std::vector<int64_t>{1, 1}) return std::nullopt;
  // One number for all channels, or one each along the channels' axis.
  const int64_t channels = weight->shape()[1];
  for (const std::string& name : {path.scale, path.shift}) {
    const Tensor* constant = graph.find_initializer(name);
    if (constant == nullptr || constant->type() != DType::kFloat32) return std::nullopt;
    const Shape& shape = constant->shape();
    const bool each =
        shape.size() >= 3 && shape[shape.size() - 3] == channels && constant->size() == channels;
    if (constant->size() != 1 && !each) return std::nullopt;
  }
  return path;
}

}  // namespace pare
