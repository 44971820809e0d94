#include "runtime/slices.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "graph/operators.h"
#include "graph/shapes.h"
#include "runtime/operator_kinds.h"

namespace pare {
namespace {

template <size_t N>
bool one_of(const std::string& op, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), op) != list.end();
}

// Whatever the other dimensions are, the first one stays: each element, window or channel by
// itself.
constexpr std::array<std::string_view, 36> kElementwise = {"Abs",
                                                           "Neg",
                                                           "Exp",
                                                           "Log",
                                                           "Sqrt",
                                                           "Reciprocal",
                                                           "Erf",
                                                           "Tanh",
                                                           "Sigmoid",
                                                           "Relu",
                                                           "LeakyRelu",
                                                           "Elu",
                                                           "Softplus",
                                                           "HardSigmoid",
                                                           "HardSwish",
                                                           "Gelu",
                                                           "Clip",
                                                           "Floor",
                                                           "Ceil",
                                                           "Round",
                                                           "Sign",
                                                           "Add",
                                                           "Sub",
                                                           "Mul",
                                                           "Div",
                                                           "Min",
                                                           "Max",
                                                           "Sum",
                                                           "Pow",
                                                           "PRelu",
                                                           "Cast",
                                                           "Identity",
                                                           "Dropout",
                                                           "Where",
                                                           "QuantizeLinear",
                                                           "DequantizeLinear"};
constexpr std::array<std::string_view, 9> kWindows = {
    "Conv",          "MaxPool", "AveragePool",        "GlobalAveragePool",
    "GlobalMaxPool", "LRN",     "BatchNormalization", "DepthToSpace",
    "SpaceToDepth"};
// The elements in their order, under other dimensions.
constexpr std::array<std::string_view, 4> kReshapes = {"Reshape", "Flatten", "Squeeze",
                                                       "Unsqueeze"};
constexpr std::array<std::string_view, 6> kReductions = {"ReduceMean", "ReduceSum",  "ReduceMax",
                                                         "ReduceMin",  "ReduceProd", "ReduceL2"};
constexpr std::array<std::string_view, 6> kAlongAnAxis = {
    "Softmax", "LogSoftmax", "Concat", "Split", "Gather", "LayerNormalization"};

// What a value is to the question of slices.
enum class Kind {
  kConstant,  // the same for every batch
  kImages,    // its first dimension runs through the images, perhaps through rows of each
  kOther      // anything else that depends on the batch, its shape above all
};

class Splitter {
 public:
  Splitter(const Graph& graph, Inference one, Inference other)
      : graph_(graph), one_(std::move(one)), other_(std::move(other)) {}

  std::optional<SplitGraph> split();

 private:
  Kind kind(const std::string& value) const {
    const auto it = kinds_.find(value);
    return it == kinds_.end() ? Kind::kConstant : it->second;
  }
  const Shape& shape(const std::string& value) const { return one_.infos.at(value).shape; }
  bool images_first(const std::string& value) const;
  Kind output_kind(const Node& node, const std::string& value) const;
  bool keeps_images_apart(const Node& node) const;
  bool operands_aligned(const Node& node) const;
  bool axis_spares_images(const Node& node) const;
  bool product_keeps_rows(const Node& node) const;
  bool is_product(const Node& node) const;
  bool has_one_row_an_image(const Node& node) const;
  size_t last_node_to_slice();
  SplitGraph cut(size_t at, const std::string& value) const;

  const Graph& graph_;
  const Inference one_;
  const Inference other_;
  std::unordered_map<std::string, Kind> kinds_;
};

// The first dimension is the number of images times some number, whatever the number of images.
bool Splitter::images_first(const std::string& value) const {
  const Shape& a = shape(value);
  const Shape& b = other_.infos.at(value).shape;
  return !a.empty() && a.size() == b.size() && a[0] > 0 && a[0] % kFirstBatch == 0 &&
         b[0] % kSecondBatch == 0 && a[0] / kFirstBatch == b[0] / kSecondBatch &&
         std::equal(a.begin() + 1, a.end(), b.begin() + 1);
}

Kind Splitter::output_kind(const Node& node, const std::string& value) const {
  const auto known = one_.known.find(value);
  if (known != one_.known.end()) {
    const auto again = other_.known.find(value);
    const bool same = again != other_.known.end() && again->second == known->second;
    return same ? Kind::kConstant : Kind::kOther;
  }
  const bool constant = std::all_of(node.inputs.begin(), node.inputs.end(), [&](const auto& input) {
    return input.empty() || kind(input) == Kind::kConstant;
  });
  if (constant) return Kind::kConstant;
  return images_first(value) ? Kind::kImages : Kind::kOther;
}

// Broadcasting sets last dimensions side by side: operands of images need them all.
bool Splitter::operands_aligned(const Node& node) const {
  const Shape& out = shape(node.outputs[0]);
  return std::all_of(node.inputs.begin(), node.inputs.end(), [&](const std::string& input) {
    if (input.empty() || kind(input) == Kind::kConstant) return true;
    const Shape& in = shape(input);
    return kind(input) == Kind::kImages && in.size() == out.size() && in[0] == out[0];
  });
}

bool Splitter::axis_spares_images(const Node& node) const {
  const RuleContext context(node, graph_.opset, one_.infos, one_.known);
  const auto rank = static_cast<int64_t>(shape(node.outputs[0]).size());
  const bool last = node.op != "Concat" && node.op != "Split" && node.op != "Gather";
  const auto axis = normalised_axis(context, node.int_attribute("axis", last ? -1 : 0), rank);
  if (!axis.ok() || *axis == 0) return false;
  if (node.op == "Concat") return operands_aligned(node);
  // The other inputs are indices, sizes and parameters.
  if (kind(node.inputs[0]) != Kind::kImages) return false;
  return std::all_of(node.inputs.begin() + 1, node.inputs.end(), [&](const auto& input) {
    return input.empty() || kind(input) == Kind::kConstant;
  });
}

bool Splitter::is_product(const Node& node) const {
  return (node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul") &&
         kind(node.inputs[0]) == Kind::kImages && kind(node.inputs[1]) == Kind::kConstant;
}

bool Splitter::has_one_row_an_image(const Node& node) const {
  return is_product(node) && node.op != "Conv" && shape(node.outputs[0]).size() == 2 &&
         shape(node.outputs[0])[0] == kFirstBatch;
}

bool Splitter::product_keeps_rows(const Node& node) const {
  if (node.op == "Gemm") {
    return is_product(node) && node.int_attribute("transA", 0) == 0 &&
           (!node.has_input(2) || kind(node.inputs[2]) == Kind::kConstant);
  }
  if (is_product(node)) return shape(node.inputs[0]).size() >= 2;
  // Two activations: a matrix of each for every image.
  return shape(node.outputs[0]).size() >= 3 && operands_aligned(node);
}

bool Splitter::keeps_images_apart(const Node& node) const {
  const RuleContext context(node, graph_.opset, one_.infos, one_.known);
  if (node.domain == "pare" && node.op == "Attention") return operands_aligned(node);
  if (!node.domain.empty()) return false;
  if (one_of(node.op, kElementwise)) return operands_aligned(node);
  if (one_of(node.op, kAlongAnAxis)) return axis_spares_images(node);
  if (node.op == "Gemm" || node.op == "MatMul") return product_keeps_rows(node);
  // What follows takes one value of images; all else must be a constant, or known from shapes.
  if (node.op == "Expand") return kind(node.outputs[0]) == Kind::kImages && operands_aligned(node);
  if (kind(node.inputs[0]) != Kind::kImages) return false;
  if (one_of(node.op, kReshapes)) return true;
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (node.has_input(i) && kind(node.inputs[i]) != Kind::kConstant) return false;
  }
  if (one_of(node.op, kWindows)) return true;
  if (node.op == "Transpose") {
    const auto perm = node.ints_attribute("perm");
    return !perm.empty() && perm[0] == 0;
  }
  if (one_of(node.op, kReductions)) {
    auto axes = axes_of(context);
    if (!axes.ok() || axes->empty()) return false;
    axes = normalised_axes(context, *axes, context.rank(0));
    return axes.ok() && !axes->empty() && axes->front() > 0;
  }
  if (node.op == "Slice") {
    const auto ranges = slice_ranges(context);
    return ranges.ok() && !ranges->empty() && ranges->front().start == 0 &&
           ranges->front().step == 1 && ranges->front().count == shape(node.inputs[0])[0];
  }
  return false;
}

// The number of nodes from the first on that may run in slices; sets the kinds of all values.
size_t Splitter::last_node_to_slice() {
  for (const ValueInfo& input : graph_.inputs) kinds_[input.name] = Kind::kImages;
  size_t end = graph_.nodes.size();
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    bool images = false;
    for (const std::string& output : node.outputs) {
      if (output.empty()) continue;
      kinds_[output] = output_kind(node, output);
      // Shapes are worked out before anything runs, from whatever batch the part is for.
      images = images || one_.known.count(output) == 0;
    }
    images = images && kind(node.outputs[0]) != Kind::kConstant;
    const bool stays = !images || (kind(node.outputs[0]) == Kind::kImages &&
                                   keeps_images_apart(node) && !has_one_row_an_image(node));
    if (!stays) end = std::min(end, i);
  }
  return end;
}

SplitGraph Splitter::cut(size_t at, const std::string& value) const {
  SplitGraph parts{graph_, graph_, follows_relu(graph_, GraphIndex(graph_), value, false)};
  ValueInfo between{value, one_.infos.at(value).type, shape(value)};
  between.shape[0] = kDynamic;
  parts.images.outputs = {between};
  parts.images.nodes.resize(at);
  parts.head.inputs = {between};
  // Constants are computed in whichever part reads them.
  parts.head.nodes.clear();
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    if (i >= at || kind(node.outputs[0]) == Kind::kConstant) parts.head.nodes.push_back(node);
  }
  remove_unused(parts.images);
  remove_unused(parts.head);
  return parts;
}

std::optional<SplitGraph> Splitter::split() {
  const size_t end = last_node_to_slice();
  // Where a value is written and last read; only one may be needed on both sides of the cut.
  std::unordered_map<std::string, size_t> last_read;
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    for (const std::string& input : graph_.nodes[i].inputs) last_read[input] = i;
  }
  for (const ValueInfo& output : graph_.outputs) last_read[output.name] = graph_.nodes.size();
  std::unordered_set<std::string> open;
  bool product = false;
  size_t best = 0;
  std::string best_value;
  const auto open_if_read = [&](const std::string& value, size_t written) {
    if (kind(value) != Kind::kConstant && last_read.count(value) != 0 &&
        last_read[value] >= written) {
      open.insert(value);
    }
  };
  open_if_read(graph_.inputs[0].name, 0);
  for (size_t i = 0; i < end; ++i) {
    const Node& node = graph_.nodes[i];
    product = product || is_product(node);
    for (const std::string& output : node.outputs) open_if_read(output, i + 1);
    std::erase_if(open, [&](const std::string& value) { return last_read[value] <= i; });
    // A dequantisation stays with the product that takes it up.
    if (!product || open.size() != 1 || node.op == "DequantizeLinear") continue;
    const std::string& value = *open.begin();
    if (kind(value) != Kind::kImages || shape(value)[0] != kFirstBatch) continue;
    best = i + 1;
    best_value = value;
  }
  if (best == 0) return std::nullopt;
  return cut(best, best_value);
}

}  // namespace

std::optional<SplitGraph> split_for_slices(const Graph& graph) {
  if (graph.inputs.size() != 1 || !has_open_batch(graph)) return std::nullopt;
  auto one = infer_concrete(graph, kFirstBatch);
  auto other = infer_concrete(graph, kSecondBatch);
  if (!one.ok() || !other.ok()) return std::nullopt;
  return Splitter(graph, std::move(*one), std::move(*other)).split();
}

int64_t slice_size(int64_t batch) {
  constexpr int64_t kSlice = 4;
  return batch >= 2 * kSlice ? kSlice : 0;
}

}  // namespace pare
