#include "runtime/fusion.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace pare {
namespace {

// What the three kinds of group share while they are formed.
class Fuser {
 public:
  Fuser(const Graph& graph, const Inference& inference, const FusionOptions& options)
      : graph_(graph), infos_(inference.infos), index_(graph), options_(options) {
    fusion_.skipped.assign(graph.nodes.size(), false);
    claimed_.assign(graph.nodes.size(), false);
  }

  Fusion run();

 private:
  const Node& node(int i) const { return graph_.nodes[static_cast<size_t>(i)]; }
  const Node* producer(const std::string& value) const {
    const int i = index_.producer(value);
    return i < 0 ? nullptr : &node(i);
  }
  bool kept(const std::string& value) const {
    return options_.keep_all || options_.keep.contains(value) || index_.is_output(value);
  }
  // The only node that reads `value`, which then need not exist; -1 if it must.
  int sole_reader(const std::string& value) const;
  const Tensor* initializer(const std::string& value) const {
    return graph_.find_initializer(value);
  }
  const Shape& shape(const std::string& value) const { return infos_.at(value).shape; }
  DType type(const std::string& value) const { return infos_.at(value).type; }

  // Products.
  void form_product(int i);
  bool start_product(ProductGroup& group) const;
  bool start_integer_product(ProductGroup& group) const;
  bool start_dynamic_product(ProductGroup& group);
  bool set_gemm_bias(ProductGroup& group) const;
  bool integer_weights(const ProductGroup& group, const Node& dequantize) const;
  bool integer_bias(ProductGroup& group, const std::string& value) const;
  void extend_product(ProductGroup& group) const;
  bool absorb_add(ProductGroup& group, const Node& add, const std::string& running) const;
  bool is_channel_vector(const std::string& value, const std::string& product,
                         const Node& anchor) const;

  // Chains and tails.
  void form_chain(int i);
  bool fits_chain(const Node& candidate, bool first) const;
  void form_tail(int i);
  void join_attention(int i);

  void mark_unneeded();
  std::vector<std::string> reads(int i) const;

  const Graph& graph_;
  const ValueInfos& infos_;
  GraphIndex index_;
  const FusionOptions& options_;
  Fusion fusion_;
  std::vector<bool> claimed_;  // by a group
};

int Fuser::sole_reader(const std::string& value) const {
  if (kept(value) || index_.consumers(value).size() != 1) return -1;
  const int reader = index_.consumers(value)[0];
  const auto& inputs = node(reader).inputs;
  return std::count(inputs.begin(), inputs.end(), value) == 1 ? reader : -1;
}

bool is_product(const Node& node) {
  return node.domain.empty() && (node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul" ||
                                 node.op == "MatMulInteger" || node.op == "ConvInteger");
}

// --- Products ---

// The axis of a product's weights along which its output channels lie.
int64_t channel_axis(const Node& anchor) {
  if (anchor.op == "Conv") return 0;
  return anchor.op == "Gemm" && anchor.int_attribute("transB", 0) != 0 ? 0 : 1;
}

bool Fuser::integer_weights(const ProductGroup& group, const Node& dequantize) const {
  const Tensor* codes = initializer(dequantize.inputs[0]);
  const Tensor* scale = initializer(dequantize.inputs[1]);
  if (codes == nullptr || codes->type() != DType::kInt8 || scale == nullptr) return false;
  if (dequantize.has_input(2) && !all_zero(initializer(dequantize.inputs[2]))) return false;
  const Node& anchor = node(group.anchor);
  const auto rank = static_cast<int64_t>(codes->rank());
  if (rank != (anchor.op == "Conv" ? 4 : 2)) return false;
  if (scale->size() == 1) return true;
  const int64_t axis = dequantize.int_attribute("axis", 1);
  return scale->rank() == 1 && (axis < 0 ? axis + rank : axis) == channel_axis(anchor);
}

// An int32 bias in units of x_scale * w_scale joins the sum exactly; the scales may differ by
// rounding only.
bool Fuser::integer_bias(ProductGroup& group, const std::string& value) const {
  const Node* dequantize = producer(value);
  if (dequantize == nullptr || dequantize->op != "DequantizeLinear") return false;
  const Tensor* codes = initializer(dequantize->inputs[0]);
  const Tensor* scale = initializer(dequantize->inputs[1]);
  const Tensor* weight_scale = initializer(group.weight_scale);
  if (codes == nullptr || codes->type() != DType::kInt32 || codes->rank() != 1 ||
      scale == nullptr) {
    return false;
  }
  if (dequantize->has_input(2) && !all_zero(initializer(dequantize->inputs[2]))) return false;
  const std::vector<float> have = to_float_vector(*scale);
  const std::vector<float> weights = to_float_vector(*weight_scale);
  const auto channels = static_cast<size_t>(codes->size());
  for (size_t n = 0; n < channels; ++n) {
    const float want = group.source_quantisation->scale * weights[weights.size() == 1 ? 0 : n];
    const float got = have[have.size() == 1 ? 0 : n];
    if (!(std::fabs(got - want) <= 1e-5F * want)) return false;
  }
  group.int_bias = dequantize->inputs[0];
  return true;
}

bool Fuser::start_integer_product(ProductGroup& group) const {
  const Node& anchor = node(group.anchor);
  const Node* source = producer(anchor.inputs[0]);
  const Node* weights = producer(anchor.inputs[1]);
  if (source == nullptr || weights == nullptr || weights->op != "DequantizeLinear") return false;
  const auto quantisation = uniform_quantisation(graph_, infos_, *source);
  if (!quantisation || source->op != "DequantizeLinear" || quantisation->type != DType::kUInt8 ||
      !integer_weights(group, *weights)) {
    return false;
  }
  if (anchor.op == "Gemm" &&
      (anchor.float_attribute("alpha", 1.0F) != 1.0F ||
       anchor.float_attribute("beta", 1.0F) != 1.0F || anchor.int_attribute("transA", 0) != 0)) {
    return false;
  }
  ProductGroup integer = group;
  integer.source_quantisation = quantisation;
  integer.source = source->inputs[0];
  integer.weights = weights->inputs[0];
  integer.weight_scale = weights->inputs[1];
  integer.bias.clear();
  if (!group.bias.empty() && !integer_bias(integer, group.bias)) integer.bias = group.bias;
  group = std::move(integer);
  return true;
}

// C of a Gemm as bias or residual. False when it is neither.
bool Fuser::set_gemm_bias(ProductGroup& group) const {
  const Node& anchor = node(group.anchor);
  if (!anchor.has_input(2)) return true;
  const std::string& c = anchor.inputs[2];
  const float beta = anchor.float_attribute("beta", 1.0F);
  const bool constant = initializer(c) != nullptr || follows_constant(graph_, index_, c);
  const Shape& s = shape(c);
  const int64_t last = s.empty() ? 1 : s.back();
  if (constant && element_count(s) == last) {
    group.bias = c;
    group.bias_factor = beta;
    return true;
  }
  if (beta != 1.0F) return false;
  group.residual = c;
  return true;
}

bool Fuser::start_product(ProductGroup& group) const {
  const Node& anchor = node(group.anchor);
  const std::string& weights = anchor.inputs[1];
  if (initializer(weights) == nullptr && !follows_constant(graph_, index_, weights)) return false;
  if (anchor.op == "Conv" && anchor.has_input(2)) {
    const std::string& bias = anchor.inputs[2];
    if (initializer(bias) == nullptr && !follows_constant(graph_, index_, bias)) return false;
    group.bias = bias;
  }
  if (anchor.op == "MatMul" && (shape(weights).size() != 2 || shape(anchor.inputs[0]).empty())) {
    return false;
  }
  if (anchor.op == "Gemm" && !set_gemm_bias(group)) return false;
  if (start_integer_product(group)) return true;
  // A convolution reads the bytes of an image as they are.
  const Node* source = producer(group.source);
  if (anchor.op == "Conv" && source != nullptr && source->op == "Cast" &&
      type(source->inputs[0]) == DType::kUInt8 && type(group.source) == DType::kFloat32) {
    group.source = source->inputs[0];
  }
  return true;
}

// DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul by (x_scale * w_scale), as ONNX Runtime
// writes dynamically quantised layers.
bool Fuser::start_dynamic_product(ProductGroup& group) {
  const Node& anchor = node(group.anchor);
  if (anchor.op != "MatMulInteger" || shape(anchor.inputs[1]).size() != 2) return false;
  const Node* quantize = producer(anchor.inputs[0]);
  const Tensor* weights = initializer(anchor.inputs[1]);
  if (quantize == nullptr || quantize->op != "DynamicQuantizeLinear" || weights == nullptr ||
      weights->type() != DType::kInt8 || quantize->outputs.size() != 3 || !anchor.has_input(2) ||
      anchor.inputs[2] != quantize->outputs[2] ||
      (anchor.has_input(3) && !all_zero(initializer(anchor.inputs[3])))) {
    return false;
  }
  const int cast = sole_reader(anchor.outputs[0]);
  if (cast < 0 || node(cast).op != "Cast" || type(node(cast).outputs[0]) != DType::kFloat32) {
    return false;
  }
  const int mul = sole_reader(node(cast).outputs[0]);
  if (mul < 0 || node(mul).op != "Mul") return false;
  const bool first = node(mul).inputs[0] == node(cast).outputs[0];
  const Node* scales = producer(node(mul).inputs[first ? 1 : 0]);
  if (scales == nullptr || scales->op != "Mul") return false;
  for (size_t i : {0U, 1U}) {
    const std::string& other = scales->inputs[1 - i];
    if (scales->inputs[i] != quantize->outputs[1] || initializer(other) == nullptr) continue;
    const int64_t count = initializer(other)->size();
    if (count != 1 && count != weights->dim(1)) continue;
    group.dynamic_scale = quantize->outputs[1];
    group.dynamic_zero_point = quantize->outputs[2];
    group.weight_scale = other;
    group.nodes = {group.anchor, cast, mul};
    group.output = node(mul).outputs[0];
    return true;
  }
  return false;
}

// Whether a constant adds one number to each output channel of `product`.
bool Fuser::is_channel_vector(const std::string& value, const std::string& product,
                              const Node& anchor) const {
  if (initializer(value) == nullptr && !follows_constant(graph_, index_, value)) return false;
  const Shape& s = shape(value);
  const Shape& out = shape(product);
  const size_t axis = anchor.op == "Conv" ? 1 : out.size() - 1;
  if (s.size() > out.size()) return false;
  for (size_t d = 0; d < s.size(); ++d) {
    const size_t at = out.size() - s.size() + d;
    if (s[d] != 1 && at != axis) return false;
  }
  return true;
}

bool Fuser::absorb_add(ProductGroup& group, const Node& add, const std::string& running) const {
  const std::string& other = add.inputs[add.inputs[0] == running ? 1 : 0];
  if (group.activation != Activation::kNone || !group.residual.empty()) return false;
  if (shape(add.outputs[0]) != shape(running)) return false;
  const bool has_bias = !group.bias.empty() || !group.int_bias.empty();
  if (!has_bias && is_channel_vector(other, running, node(group.anchor))) {
    group.bias = other;
    return true;
  }
  const Node* from = producer(other);
  // A dequantised operand is read as integers by a chain instead.
  if (from != nullptr && from->op == "DequantizeLinear") return false;
  group.residual = other;
  return true;
}

void Fuser::extend_product(ProductGroup& group) const {
  while (true) {
    const int next = sole_reader(group.output);
    if (next < 0 || claimed_[static_cast<size_t>(next)]) return;
    const Node& reader = node(next);
    if (!reader.domain.empty()) return;
    if (reader.op == "QuantizeLinear") {
      const auto quantisation = uniform_quantisation(graph_, infos_, reader);
      if (!quantisation || quantisation->type != DType::kUInt8) return;
      group.output_quantisation = quantisation;
    } else if (type(group.output) != DType::kFloat32) {
      return;
    } else if (reader.op == "Add") {
      if (!absorb_add(group, reader, group.output)) return;
    } else {
      const auto kind = activation_kind(graph_, reader);
      if (!kind || group.activation != Activation::kNone) return;
      group.activation = kind->activation;
      group.alpha = kind->alpha;
      group.beta = kind->beta;
    }
    group.nodes.push_back(next);
    group.output = reader.outputs[0];
    if (group.output_quantisation) return;
  }
}

void Fuser::form_product(int i) {
  const Node& anchor = node(i);
  ProductGroup group;
  group.anchor = i;
  group.nodes = {i};
  group.source = anchor.inputs[0];
  group.weights = anchor.inputs[1];
  group.output = anchor.outputs[0];
  const bool integer_op = anchor.op.ends_with("Integer");
  if (integer_op ? start_dynamic_product(group) : start_product(group)) {
    extend_product(group);
    std::sort(group.nodes.begin(), group.nodes.end());
  } else {
    group.general = true;
  }
  for (int n : group.nodes) claimed_[static_cast<size_t>(n)] = true;
  const int last = group.nodes.back();
  fusion_.products.emplace(last, std::move(group));
}

// --- Chains and tails ---

bool Fuser::fits_chain(const Node& candidate, bool first) const {
  if (!candidate.domain.empty()) return false;
  const DType out = type(candidate.outputs[0]);
  if (candidate.op == "QuantizeLinear") {
    return uniform_quantisation(graph_, infos_, candidate).has_value() &&
           is_program_float(type(candidate.inputs[0]));
  }
  if (!is_program_float(out)) return false;
  if (candidate.op == "Cast") {
    const DType in = type(candidate.inputs[0]);
    return first ? is_program_source(in) : out == DType::kFloat32;
  }
  const bool unary = unary_loop(candidate).has_value();
  if (!unary && !binary_loop(candidate.op) && candidate.op != "Clip") return false;
  return candidate.inputs.size() <= 4 &&
         std::all_of(candidate.inputs.begin(), candidate.inputs.end(),
                     [&](const std::string& v) { return v.empty() || is_program_float(type(v)); });
}

void Fuser::form_chain(int i) {
  if (claimed_[static_cast<size_t>(i)] || !fits_chain(node(i), true)) return;
  ChainGroup chain;
  chain.nodes = {i};
  chain.output = node(i).outputs[0];
  size_t operands = node(i).inputs.size();
  while (node(chain.nodes.back()).op != "QuantizeLinear") {
    const int next = sole_reader(chain.output);
    if (next < 0 || claimed_[static_cast<size_t>(next)] || !fits_chain(node(next), false)) break;
    if (shape(node(next).outputs[0]) != shape(chain.output)) break;
    // Bounds of Clip and scales of QuantizeLinear are parameters of the chain's running value only
    // as first inputs.
    if (!binary_loop(node(next).op) && node(next).inputs[0] != chain.output) break;
    operands += node(next).inputs.size();
    if (operands > kMaxChainOperands) break;
    chain.nodes.push_back(next);
    chain.output = node(next).outputs[0];
  }
  for (int n : chain.nodes) claimed_[static_cast<size_t>(n)] = true;
  const int last = chain.nodes.back();
  fusion_.chains.emplace(last, std::move(chain));
}

void Fuser::form_tail(int i) {
  const Node& layer = node(i);
  const bool takes_one = layer.op == "LayerNormalization" || layer.op == "Attention";
  if (!takes_one) return;
  const int next = sole_reader(layer.outputs[0]);
  if (next < 0 || claimed_[static_cast<size_t>(next)] || node(next).op != "QuantizeLinear") return;
  const auto quantisation = uniform_quantisation(graph_, infos_, node(next));
  if (!quantisation || quantisation->type != DType::kUInt8) return;
  claimed_[static_cast<size_t>(next)] = true;
  fusion_.tails.emplace(i, TailGroup{next, *quantisation, node(next).outputs[0]});
}

void Fuser::join_attention(int i) {
  const Node& layer = node(i);
  if (layer.domain != "pare" || layer.op != "Attention" || layer.inputs.size() != 1) return;
  if (sole_reader(layer.inputs[0]) != i) return;
  const auto product = fusion_.products.find(index_.producer(layer.inputs[0]));
  if (product == fusion_.products.end() || product->second.general) return;
  const std::string& op = node(product->second.anchor).op;
  product->second.feeds_attention = op == "MatMul" || op == "Gemm" || op == "MatMulInteger";
}

// --- What is left ---

// Values that the step emitted at node i reads.
std::vector<std::string> Fuser::reads(int i) const {
  std::vector<std::string> values;
  if (auto it = fusion_.products.find(i); it != fusion_.products.end()) {
    const ProductGroup& g = it->second;
    if (g.general) return node(i).inputs;
    return {g.source, g.residual, g.dynamic_scale, g.dynamic_zero_point};
  }
  std::vector<int> nodes = {i};
  const auto chain = fusion_.chains.find(i);
  if (chain != fusion_.chains.end()) nodes = chain->second.nodes;
  for (int n : nodes) {
    for (const std::string& input : node(n).inputs) {
      const Node* from = producer(input);
      const bool as_integers = chain != fusion_.chains.end() && from != nullptr &&
                               from->op == "DequantizeLinear" &&
                               uniform_quantisation(graph_, infos_, *from).has_value() &&
                               initializer(from->inputs[0]) == nullptr;
      values.push_back(as_integers ? from->inputs[0] : input);
    }
  }
  return values;
}

void Fuser::mark_unneeded() {
  std::unordered_set<std::string> needed;
  for (const ValueInfo& output : graph_.outputs) needed.insert(output.name);
  needed.insert(options_.keep.begin(), options_.keep.end());
  for (int i = static_cast<int>(graph_.nodes.size()) - 1; i >= 0; --i) {
    const auto at = static_cast<size_t>(i);
    const bool emits = fusion_.products.contains(i) || fusion_.chains.contains(i);
    const auto tail = fusion_.tails.find(i);
    bool wanted = options_.keep_all;
    for (const std::string& output : node(i).outputs) wanted = wanted || needed.contains(output);
    if (tail != fusion_.tails.end()) wanted = wanted || needed.contains(tail->second.output);
    if ((claimed_[at] && !emits) || !wanted) {
      fusion_.skipped[at] = true;
      continue;
    }
    for (std::string& value : reads(i)) needed.insert(std::move(value));
  }
}

Fusion Fuser::run() {
  const int count = static_cast<int>(graph_.nodes.size());
  for (int i = 0; i < count; ++i) {
    if (is_product(node(i))) form_product(i);
  }
  for (int i = 0; i < count; ++i) form_tail(i);
  for (int i = 0; i < count && options_.join_attention; ++i) join_attention(i);
  for (int i = 0; i < count; ++i) form_chain(i);
  mark_unneeded();
  return std::move(fusion_);
}

}  // namespace

Fusion plan_fusion(const Graph& graph, const Inference& inference, const FusionOptions& options) {
  return Fuser(graph, inference, options).run();
}

}  // namespace pare
