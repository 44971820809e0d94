#include "train/head.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/rng.h"

namespace pare {
namespace {

// Operators behind the last layer that keep one score a class.
bool keeps_classes(const Graph& graph, const Node& node, int64_t classes) {
  static const std::set<std::string> ops = {
      "Softmax", "LogSoftmax", "Identity",          "Dropout",    "Relu",
      "Flatten", "Squeeze",    "GlobalAveragePool", "ReduceMean", "AveragePool"};
  if (ops.contains(node.op)) return true;
  if (node.op != "Reshape" || !node.has_input(1)) return false;
  // A target that states the number of classes would have to change with it.
  const Tensor* target = graph.find_initializer(node.inputs[1]);
  if (target == nullptr || target->type() != DType::kInt64) return false;
  const auto sizes = target->values<int64_t>();
  return std::find(sizes.begin(), sizes.end(), classes) == sizes.end();
}

struct Head {
  std::string weights;
  std::vector<std::string> biases;
  int out_axis = 0;  // of the weights
};

// The layer that makes the scores: the last Gemm, MatMul or Conv before the output.
Result<Head> find_head(const Graph& graph, int64_t classes) {
  const Status none = unsupported(fmt::format(
      "'{}' does not end in a dense layer or a convolution, so it cannot be given other classes",
      graph.name));
  const GraphIndex index(graph);
  std::string value = graph.outputs[0].name;
  Head head;
  const auto add_bias = [&](const std::string& name) {
    const Tensor* bias = graph.find_initializer(name);
    if (bias != nullptr && bias->size() == classes) head.biases.push_back(name);
    return bias != nullptr;
  };
  while (true) {
    const int producer = index.producer(value);
    if (producer < 0) return none;
    const Node& node = graph.nodes[static_cast<size_t>(producer)];
    if (node.op == "Gemm" || node.op == "MatMul" || node.op == "Conv") {
      const Tensor* weights =
          node.inputs.size() < 2 ? nullptr : graph.find_initializer(node.inputs[1]);
      const bool rows = node.op == "Conv" || node.int_attribute("transB", 0) != 0;
      head.out_axis = rows ? 0 : 1;
      if (weights == nullptr || weights->type() != DType::kFloat32 ||
          weights->rank() != (node.op == "Conv" ? 4 : 2) ||
          weights->dim(head.out_axis) != classes || node.int_attribute("group", 1) != 1) {
        return none;
      }
      head.weights = node.inputs[1];
      if (node.has_input(2)) add_bias(node.inputs[2]);
      return head;
    }
    if (node.op == "Add") {
      value = node.inputs[add_bias(node.inputs[1]) ? 0 : 1];
      if (value == node.inputs[1]) add_bias(node.inputs[0]);
    } else if (keeps_classes(graph, node, classes)) {
      value = node.inputs[0];
    } else {
      return none;
    }
  }
}

// `from`: for each new class the old one it continues, -1 for none. New weights are normal numbers
// of standard deviation 0.01, as fine-tuning recipes start a new head.
Tensor moved_weights(const Tensor& old, int axis, const std::vector<int64_t>& from, uint64_t seed) {
  constexpr float kDeviation = 0.01F;
  Shape shape = old.shape();
  shape[static_cast<size_t>(axis)] = static_cast<int64_t>(from.size());
  Tensor out(DType::kFloat32, shape);
  Rng rng(seed, RngPurpose::kInit, /*a=*/0x68656164);
  int64_t outer = 1;
  int64_t inner = 1;
  for (int d = 0; d < static_cast<int>(shape.size()); ++d) {
    if (d != axis) (d < axis ? outer : inner) *= shape[static_cast<size_t>(d)];
  }
  const auto src = old.values<float>();
  const auto dst = out.mutable_values<float>();
  const auto old_classes = static_cast<size_t>(old.dim(axis));
  size_t at = 0;
  for (int64_t o = 0; o < outer; ++o) {
    for (const int64_t row : from) {
      for (int64_t i = 0; i < inner; ++i, ++at) {
        const size_t source = (static_cast<size_t>(o) * old_classes + static_cast<size_t>(row)) *
                                  static_cast<size_t>(inner) +
                              static_cast<size_t>(i);
        dst[at] = row < 0 ? kDeviation * rng.normal() : src[source];
      }
    }
  }
  return out;
}

// A bias has one number a class, whatever sizes of 1 stand around them.
Tensor moved_bias(const Tensor& old, const std::vector<int64_t>& from) {
  Shape shape = old.shape();
  const int64_t classes = old.size();
  for (int64_t& size : shape) {
    if (size == classes) size = static_cast<int64_t>(from.size());
  }
  Tensor out(DType::kFloat32, shape);
  const auto dst = out.mutable_values<float>();
  for (size_t c = 0; c < from.size(); ++c) {
    if (from[c] >= 0) dst[c] = old.values<float>()[static_cast<size_t>(from[c])];
  }
  return out;
}

// For each class of the data the model's own class of that name, or -1.
std::vector<int64_t> match(const std::vector<std::string>& classes,
                           const std::vector<std::string>& own) {
  std::vector<int64_t> from;
  for (const std::string& name : classes) {
    const auto it = std::find(own.begin(), own.end(), name);
    from.push_back(it == own.end() ? -1 : it - own.begin());
  }
  return from;
}

std::string describe(const std::vector<int64_t>& from, int64_t own, bool named) {
  const auto known = std::count_if(from.begin(), from.end(), [](int64_t row) { return row >= 0; });
  const auto classes = static_cast<int64_t>(from.size());
  if (known == 0 && named && own == classes) {
    return fmt::format(
        "the model's {} classes and those of the data have no name in common: its last layer "
        "starts "
        "anew",
        own);
  }
  if (known == 0) {
    return fmt::format("the model has {} classes, the data {}: its last layer starts anew", own,
                       classes);
  }
  if (known < classes) {
    return fmt::format(
        "of the data's {} classes the model knows {} by name, which keep their weights; the others "
        "start anew",
        classes, known);
  }
  return own == classes
             ? "the model's classes are put into the order of the data's"
             : fmt::format("of the model's {} classes the {} of the data are kept", own, classes);
}

}  // namespace

Result<std::string> fit_head(Graph& graph, const std::vector<std::string>& classes, uint64_t seed) {
  const int64_t own = graph.outputs[0].shape.back();
  const std::vector<std::string>& names = graph.contract.classes;
  const bool named = static_cast<int64_t>(names.size()) == own;
  if (static_cast<int64_t>(classes.size()) == own && (!named || names == classes)) {
    return std::string();
  }
  const std::vector<int64_t> from = match(classes, named ? names : std::vector<std::string>());
  PARE_ASSIGN_OR_RETURN(const Head head, find_head(graph, own));
  graph.initializers[head.weights] =
      moved_weights(graph.initializers.at(head.weights), head.out_axis, from, seed);
  for (const std::string& bias : head.biases) {
    graph.initializers[bias] = moved_bias(graph.initializers.at(bias), from);
  }
  graph.outputs[0].shape.back() = static_cast<int64_t>(classes.size());
  graph.contract.classes = classes;
  return describe(from, own, named);
}

}  // namespace pare
