#include "models/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/numerals.h"
#include "graph/cost.h"

namespace pare {
namespace {

std::string sizes(const std::vector<int64_t>& values) {
  std::string text;
  for (const int64_t v : values) text += (text.empty() ? "" : "×") + with_thousands(v);
  return text;
}

// One image's share of a value: images are shown height × width × channels, as papers do, whatever
// the memory layout.
std::string image_shape(const Shape& shape) {
  if (shape.size() == 4) return sizes({shape[2], shape[3], shape[1]});
  return shape.size() < 2 ? "" : sizes({shape.begin() + 1, shape.end()});
}

// "same" where the output is as large as the input.
std::string padding_text(const std::vector<int64_t>& pads, const std::vector<int64_t>& kernel) {
  if (std::ranges::all_of(pads, [](int64_t p) { return p == 0; })) {
    return kernel == std::vector<int64_t>(kernel.size(), 1) ? "" : ", no padding";
  }
  bool same = pads.size() == 2 * kernel.size();
  for (size_t d = 0; same && d < kernel.size(); ++d) {
    same = pads[d] + pads[d + kernel.size()] + 1 == kernel[d];
  }
  return same ? ", same" : fmt::format(", padding {}", sizes(pads));
}

std::string stride_text(const Node& node) {
  const std::vector<int64_t> strides = node.ints_attribute("strides", {1, 1});
  if (std::ranges::all_of(strides, [](int64_t s) { return s == 1; })) return "";
  const bool square = std::ranges::all_of(strides, [&](int64_t s) { return s == strides[0]; });
  return ", stride " + (square ? with_thousands(strides[0]) : sizes(strides));
}

std::string conv_text(const Node& node, const Shape& weights, const Shape& output) {
  const std::vector<int64_t> kernel(weights.begin() + 2, weights.end());
  std::string text = fmt::format("conv {}×{}", sizes(kernel), with_thousands(output[1]));
  if (const int64_t groups = node.int_attribute("group", 1); groups > 1) {
    text += fmt::format(", {} groups", groups);
  }
  const std::vector<int64_t> none(2 * kernel.size(), 0);
  const std::string auto_pad = node.string_attribute("auto_pad", "NOTSET");
  const std::string padding = auto_pad.starts_with("SAME")
                                  ? ", same"
                                  : padding_text(node.ints_attribute("pads", none), kernel);
  return text + stride_text(node) + padding;
}

std::string pool_text(const Node& node, const char* what) {
  const std::vector<int64_t> kernel = node.ints_attribute("kernel_shape");
  const std::vector<int64_t> strides = node.ints_attribute("strides", {1, 1});
  return fmt::format("{} {}/{}", what, kernel.empty() ? 0 : kernel[0],
                     strides.empty() ? 1 : strides[0]);
}

class Summariser {
 public:
  explicit Summariser(const Graph& graph) : graph_(graph) {}

  Result<Summary> run() {
    PARE_ASSIGN_OR_RETURN(infos_, infer_shapes(graph_));
    PARE_ASSIGN_OR_RETURN(const std::vector<NodeCost> costs, node_costs(graph_));
    if (!graph_.inputs.empty()) summary_.input = image_shape(graph_.inputs[0].shape);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) add(graph_.nodes[i], costs[i]);
    if (pending_.parameters > 0 || pending_.macs > 0) start_row("(other)", "other", {});
    for (const SummaryRow& row : summary_.rows) {
      summary_.parameters += row.parameters;
      summary_.macs = saturating_sum(summary_.macs, row.macs);
    }
    for (const NodeCost& cost : costs) summary_.weight_bytes += cost.weight_bytes;
    return std::move(summary_);
  }

 private:
  void start_row(const std::string& name, const std::string& layer, const Shape& output) {
    summary_.rows.push_back({name, layer, image_shape(output), pending_.parameters, pending_.macs});
    pending_ = {};
  }

  // What an operator is called when it has a row of its own; empty when it has none.
  std::string layer_text(const Node& node, const NodeCost& cost) const {
    const bool weighted = cost.macs > 0 && cost.parameters > 0;
    if (node.op == "Conv" || node.op == "ConvInteger") {
      return conv_text(node, infos_.at(node.inputs[1]).shape, cost.output_shape);
    }
    if (node.op == "Gemm" || node.op == "MatMul" || node.op == "MatMulInteger") {
      return weighted || node.op == "Gemm" ? "dense " + with_thousands(cost.output_shape.back())
                                           : "product";
    }
    if (node.op == "Add" && cost.parameters == 0 && cost.output_shape.size() > 1 &&
        is_activation(node.inputs[0]) && is_activation(node.inputs[1])) {
      return "residual";
    }
    if (node.op == "MaxPool") return pool_text(node, "max-pool");
    if (node.op == "AveragePool") return pool_text(node, "average-pool");
    static const std::map<std::string, std::string> kNames = {
        {"GlobalAveragePool", "mean over the image"},
        {"BatchNormalization", "batch norm"},
        {"LayerNormalization", "layer norm"},
        {"Flatten", "flatten"},
        {"Dropout", "dropout"},
        {"ReduceMean", "mean"},
        {"Attention", "attention"},
        {"LRN", "local response norm"}};
    const auto it = kNames.find(node.op);
    return it == kNames.end() ? "" : it->second;
  }

  bool is_activation(const std::string& value) const {
    return !graph_.initializers.contains(value) && !of_constants_.contains(value);
  }

  // Values computed from initializers alone, such as a dequantised weight.
  void note_constants(const Node& node) {
    const bool constant = std::ranges::all_of(
        node.inputs, [&](const std::string& v) { return v.empty() || !is_activation(v); });
    if (constant) of_constants_.insert(node.outputs.begin(), node.outputs.end());
  }

  // The attention that a node belongs to: "blocks.0.attn" of "blocks.0.attn.qkv.add".
  static std::string attention_of(const std::string& name) {
    const std::string dotted = "." + name + ".";
    const size_t at = dotted.find(".attn.");
    return at == std::string::npos ? "" : dotted.substr(1, at + 4);
  }

  void add(const Node& node, const NodeCost& cost) {
    note_constants(node);
    if (!node.outputs.empty() && of_constants_.contains(node.outputs[0])) return hide(cost);
    if (const std::string attention = attention_of(node.name); !attention.empty()) {
      if (!summary_.rows.empty() && summary_.rows.back().name == attention) {
        summary_.rows.back().output = image_shape(cost.output_shape);
        return hide(cost);
      }
      start_row(attention, "attention", cost.output_shape);
      return hide(cost);
    }
    if (const std::string text = layer_text(node, cost); !text.empty()) {
      start_row(node.name, text, cost.output_shape);
      return hide(cost);
    }
    if (summary_.rows.empty()) return hide(cost);
    static const std::map<std::string, std::string> kActivations = {{"Relu", "ReLU"},
                                                                    {"Gelu", "GELU"},
                                                                    {"Sigmoid", "sigmoid"},
                                                                    {"Tanh", "tanh"},
                                                                    {"HardSwish", "hard swish"},
                                                                    {"Softmax", "softmax"},
                                                                    {"Clip", "clip"}};
    const auto it = kActivations.find(node.op);
    if (it != kActivations.end() && summary_.rows.back().layer != "attention") {
      summary_.rows.back().layer += ", " + it->second;
    }
    if (node.op == "Add" && cost.parameters > 0 && cost.output_shape.size() == 3 &&
        graph_.initializers.contains(node.inputs[1]) &&
        graph_.initializers.at(node.inputs[1]).rank() == 3) {
      summary_.rows.back().layer += ", position embedding";
      summary_.rows.back().output = image_shape(cost.output_shape);
    }
    hide(cost);
  }

  void hide(const NodeCost& cost) {
    SummaryRow& row = summary_.rows.empty() ? pending_ : summary_.rows.back();
    row.parameters += cost.parameters;
    row.macs = saturating_sum(row.macs, cost.macs);
  }

  const Graph& graph_;
  ValueInfos infos_;
  std::set<std::string> of_constants_;
  Summary summary_;
  SummaryRow pending_;  // costs of what stands before the first row
};

}  // namespace

Result<Summary> summarise(const Graph& graph) { return Summariser(graph).run(); }

}  // namespace pare
