#include <algorithm>

#include "graph/opset.h"
#include "graph/passes.h"
#include "graph/passes/matcher.h"

namespace pare {
namespace {

struct LayerNorm {
  std::string x;
  std::string gamma;  // empty: there is none
  std::string beta;
  double epsilon = 0.0;
  int64_t axis = 0;  // the first normalised one
};

class LayerNormMatcher {
 public:
  LayerNormMatcher(const Graph& graph, const ValueInfos& infos) : match_(graph), infos_(infos) {}

  // The pattern that ends at `node`: Add of β, Mul by γ, or the division itself.
  std::optional<LayerNorm> find(const Node& node) const {
    if (!node.domain.empty() || node.inputs.size() != 2) return std::nullopt;
    if (node.op == "Add") return with_beta(node);
    if (auto scaled = with_gamma(node)) return scaled;
    return core(node);
  }

 private:
  // A constant whose shape is exactly the normalised axes of x.
  bool is_parameter(const std::string& value, const LayerNorm& norm) const {
    const Tensor* tensor = match_.graph().find_initializer(value);
    const Shape& x = infos_.at(norm.x).shape;
    return tensor != nullptr && is_floating(tensor->type()) &&
           tensor->type() == infos_.at(norm.x).type &&
           tensor->shape() == Shape(x.begin() + norm.axis, x.end());
  }

  std::optional<LayerNorm> with_beta(const Node& add) const {
    for (size_t i = 0; i < 2; ++i) {
      const Node* inner = match_.producer(add.inputs[i]);
      if (inner == nullptr || !inner->domain.empty() || inner->inputs.size() != 2) continue;
      auto norm = with_gamma(*inner);
      if (!norm) norm = core(*inner);
      if (!norm || !is_parameter(add.inputs[1 - i], *norm)) continue;
      norm->beta = add.inputs[1 - i];
      return norm;
    }
    return std::nullopt;
  }

  std::optional<LayerNorm> with_gamma(const Node& mul) const {
    if (mul.op != "Mul") return std::nullopt;
    for (size_t i = 0; i < 2; ++i) {
      const Node* inner = match_.producer(mul.inputs[i]);
      if (inner == nullptr || inner->inputs.size() != 2) continue;
      auto norm = core(*inner);
      if (!norm || !is_parameter(mul.inputs[1 - i], *norm)) continue;
      norm->gamma = mul.inputs[1 - i];
      return norm;
    }
    return std::nullopt;
  }

  // (x - mean) / sqrt(variance + ε), or times the reciprocal.
  std::optional<LayerNorm> core(const Node& node) const {
    if (!node.domain.empty()) return std::nullopt;
    if (node.op == "Div") return centred(node.inputs[0], square_root_of(node.inputs[1]));
    if (node.op != "Mul") return std::nullopt;
    for (size_t i = 0; i < 2; ++i) {
      if (auto norm = centred(node.inputs[i], reciprocal_root_of(node.inputs[1 - i]))) return norm;
    }
    return std::nullopt;
  }

  // What stands under the root; empty when `value` is none.
  std::string square_root_of(const std::string& value) const {
    if (const Node* root = match_.producer(value, "Sqrt")) return root->inputs[0];
    const Node* power = match_.producer(value, "Pow");
    return power != nullptr && is_number(match_.scalar(power->inputs[1]), 0.5) ? power->inputs[0]
                                                                               : "";
  }

  std::string reciprocal_root_of(const std::string& value) const {
    if (const Node* r = match_.producer(value, "Reciprocal")) return square_root_of(r->inputs[0]);
    if (const Node* division = match_.producer(value, "Div")) {
      return is_number(match_.scalar(division->inputs[0]), 1.0)
                 ? square_root_of(division->inputs[1])
                 : "";
    }
    const Node* power = match_.producer(value, "Pow");
    return power != nullptr && is_number(match_.scalar(power->inputs[1]), -0.5) ? power->inputs[0]
                                                                                : "";
  }

  // `difference` is x - mean(x), and `variance` is mean(difference²) + ε.
  std::optional<LayerNorm> centred(const std::string& difference,
                                   const std::string& variance) const {
    const Node* sub = match_.producer(difference, "Sub");
    const Node* plus = match_.producer(variance, "Add");
    if (sub == nullptr || plus == nullptr) return std::nullopt;
    const auto epsilon = match_.with_scalar(*plus);
    if (!epsilon || epsilon->number <= 0.0) return std::nullopt;
    LayerNorm norm;
    norm.x = sub->inputs[0];
    norm.epsilon = epsilon->number;
    const auto mean_axis = mean_of(sub->inputs[1], norm.x);
    const Node* mean = match_.producer(epsilon->value, "ReduceMean");
    if (!mean_axis || mean == nullptr || !is_square(mean->inputs[0], norm.x, sub->inputs[1])) {
      return std::nullopt;
    }
    if (mean_of(epsilon->value, mean->inputs[0]) != mean_axis) return std::nullopt;
    norm.axis = *mean_axis;
    return norm;
  }

  // `value` is (x - mean)², through whichever Sub computes that difference.
  bool is_square(const std::string& value, const std::string& x, const std::string& mean) const {
    const auto is_difference = [&](const std::string& v) {
      const Node* sub = match_.producer(v, "Sub");
      return sub != nullptr && sub->inputs[0] == x && sub->inputs[1] == mean;
    };
    if (const Node* power = match_.producer(value, "Pow")) {
      return is_number(match_.scalar(power->inputs[1]), 2.0) && is_difference(power->inputs[0]);
    }
    const Node* product = match_.producer(value, "Mul");
    return product != nullptr && product->inputs[0] == product->inputs[1] &&
           is_difference(product->inputs[0]);
  }

  // The first of the last axes that `value` is the mean of `x` over, kept as dimensions.
  std::optional<int64_t> mean_of(const std::string& value, const std::string& x) const {
    const Node* mean = match_.producer(value, "ReduceMean");
    if (mean == nullptr || mean->inputs[0] != x || mean->int_attribute("keepdims", 1) == 0) {
      return std::nullopt;
    }
    auto axes = constant_axes(match_.graph(), *mean);
    const auto rank = static_cast<int64_t>(infos_.at(x).shape.size());
    if (!axes.ok() || axes->empty()) return std::nullopt;
    for (int64_t& axis : *axes) axis = axis < 0 ? axis + rank : axis;
    std::sort(axes->begin(), axes->end());
    for (size_t i = 0; i < axes->size(); ++i) {
      if ((*axes)[i] != rank - static_cast<int64_t>(axes->size() - i)) return std::nullopt;
    }
    return axes->front();
  }

  Matcher match_;
  const ValueInfos& infos_;
};

Node make_node(Graph& graph, const Node& last, const LayerNorm& norm, const ValueInfos& infos) {
  Node node;
  node.op = "LayerNormalization";
  node.name = last.name;
  node.outputs = last.outputs;
  const ValueInfo& x = infos.at(norm.x);
  const Shape normalised(x.shape.begin() + norm.axis, x.shape.end());
  std::string gamma = norm.gamma;
  if (gamma.empty()) {
    // The operator's scale is not optional.
    const std::vector<float> ones(static_cast<size_t>(element_count(normalised)), 1.0F);
    auto tensor = convert_floating(Tensor::from_values<float>(normalised, ones), x.type);
    gamma = graph.fresh_name(last.name + "_ones");
    graph.initializers[gamma] = *std::move(tensor);
  }
  node.inputs = {norm.x, gamma};
  if (!norm.beta.empty()) node.inputs.push_back(norm.beta);
  node.attributes = {{"axis", norm.axis - static_cast<int64_t>(x.shape.size())},
                     {"epsilon", static_cast<float>(norm.epsilon)}};
  return node;
}

}  // namespace

Result<Graph> fuse_layer_norm(Graph graph) {
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph));
  const Graph before = graph;
  const LayerNormMatcher matcher(before, infos);
  for (size_t i = 0; i < before.nodes.size(); ++i) {
    const auto norm = matcher.find(before.nodes[i]);
    if (!norm || !is_floating(infos.at(norm->x).type)) continue;
    const Shape& x = infos.at(norm->x).shape;
    // With the number of images among the normalised axes γ would have no fixed shape.
    if (std::find(x.begin() + norm->axis, x.end(), kDynamic) != x.end()) continue;
    graph.nodes[i] = make_node(graph, before.nodes[i], *norm, infos);
  }
  remove_unused(graph);
  return graph;
}

}  // namespace pare
