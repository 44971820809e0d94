#include "graph/passes/matcher.h"

#include <cmath>

namespace pare {

const Node* Matcher::producer(const std::string& value) const {
  const int i = index_.producer(value);
  return i < 0 ? nullptr : &graph_.nodes[static_cast<size_t>(i)];
}

const Node* Matcher::producer(const std::string& value, const std::string& op) const {
  const Node* node = producer(value);
  return node != nullptr && node->domain.empty() && node->op == op ? node : nullptr;
}

const Node* Matcher::only_reader(const std::string& value) const {
  const auto& readers = index_.consumers(value);
  if (readers.size() != 1 || index_.is_output(value)) return nullptr;
  return &graph_.nodes[static_cast<size_t>(readers[0])];
}

std::optional<double> Matcher::scalar(const std::string& value) const {
  const Tensor* tensor = graph_.find_initializer(value);
  if (tensor == nullptr || tensor->size() != 1) return std::nullopt;
  return static_cast<double>(to_float_vector(*tensor)[0]);
}

std::optional<std::vector<float>> Matcher::floats(const std::string& value) const {
  const Tensor* tensor = graph_.find_initializer(value);
  if (tensor == nullptr || !is_floating(tensor->type())) return std::nullopt;
  return to_float_vector(*tensor);
}

std::optional<Matcher::WithScalar> Matcher::with_scalar(const Node& node) const {
  if (node.inputs.size() != 2) return std::nullopt;
  if (const auto number = scalar(node.inputs[1])) {
    return WithScalar{node.inputs[0], *number, /*scalar_first=*/false};
  }
  if (const auto number = scalar(node.inputs[0])) {
    return WithScalar{node.inputs[1], *number, /*scalar_first=*/true};
  }
  return std::nullopt;
}

bool is_number(std::optional<double> found, double expected) {
  // Half a unit in the last place of a float16.
  constexpr double kRelative = 0x1p-11;
  return found && std::abs(*found - expected) <= kRelative * std::abs(expected);
}

void redirect(Graph& graph, const std::string& from, const std::string& to) {
  for (Node& node : graph.nodes) {
    for (std::string& value : node.inputs) {
      if (value == from) value = to;
    }
  }
}

std::string replace_initializer(Graph& graph, const GraphIndex& index, const std::string& name,
                                Tensor tensor) {
  const bool shared = index.consumers(name).size() > 1 || index.is_output(name);
  std::string target = shared ? graph.fresh_name(name) : name;
  graph.initializers[target] = std::move(tensor);
  return target;
}

}  // namespace pare
