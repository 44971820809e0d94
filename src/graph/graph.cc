#include "graph/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <queue>
#include <set>
#include <unordered_set>

#include "graph/cost.h"

namespace pare {
namespace {

template <typename T>
const T* find_attribute(const Node& node, const std::string& key) {
  const auto it = node.attributes.find(key);
  return it == node.attributes.end() ? nullptr : std::get_if<T>(&it->second);
}

}  // namespace

int64_t Node::int_attribute(const std::string& key, int64_t fallback) const {
  const auto* value = find_attribute<int64_t>(*this, key);
  return value == nullptr ? fallback : *value;
}

float Node::float_attribute(const std::string& key, float fallback) const {
  const auto* value = find_attribute<float>(*this, key);
  return value == nullptr ? fallback : *value;
}

std::string Node::string_attribute(const std::string& key, const std::string& fallback) const {
  const auto* value = find_attribute<std::string>(*this, key);
  return value == nullptr ? fallback : *value;
}

std::vector<int64_t> Node::ints_attribute(const std::string& key,
                                          const std::vector<int64_t>& fallback) const {
  const auto* value = find_attribute<std::vector<int64_t>>(*this, key);
  return value == nullptr ? fallback : *value;
}

void Node::drop_empty_ends() {
  while (!inputs.empty() && inputs.back().empty()) inputs.pop_back();
  while (outputs.size() > 1 && outputs.back().empty()) outputs.pop_back();
}

const Tensor* Graph::find_initializer(const std::string& value) const {
  const auto it = initializers.find(value);
  return it == initializers.end() ? nullptr : &it->second;
}

std::string Graph::fresh_name(const std::string& stem) const {
  std::unordered_set<std::string> taken;
  const auto take = [&](const std::string& used) {
    if (used.starts_with(stem)) taken.insert(used);
  };
  for (const ValueInfo& v : inputs) take(v.name);
  for (const ValueInfo& v : outputs) take(v.name);
  for (const auto& [value, tensor] : initializers) take(value);
  for (const Node& node : nodes) {
    take(node.name);
    for (const std::string& value : node.outputs) take(value);
  }
  if (!stem.empty() && !taken.contains(stem)) return stem;
  for (int64_t i = 1;; ++i) {
    std::string candidate = fmt::format("{}_{}", stem, i);
    if (!taken.contains(candidate)) return candidate;
  }
}

int64_t Graph::parameter_count() const {
  int64_t count = 0;
  for (const std::string& value : weight_initializers(*this)) {
    count += initializers.at(value).size();
  }
  return count;
}

GraphIndex::GraphIndex(const Graph& graph) {
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    for (const std::string& value : node.outputs) {
      if (!value.empty()) producers_[value] = static_cast<int>(i);
    }
    for (const std::string& value : node.inputs) {
      if (value.empty()) continue;
      auto& readers = consumers_[value];
      if (readers.empty() || readers.back() != static_cast<int>(i)) {
        readers.push_back(static_cast<int>(i));
      }
    }
  }
  for (const ValueInfo& output : graph.outputs) outputs_[output.name] = true;
}

int GraphIndex::producer(const std::string& value) const {
  const auto it = producers_.find(value);
  return it == producers_.end() ? -1 : it->second;
}

const std::vector<int>& GraphIndex::consumers(const std::string& value) const {
  static const std::vector<int> kNone;
  const auto it = consumers_.find(value);
  return it == consumers_.end() ? kNone : it->second;
}

bool GraphIndex::is_output(const std::string& value) const { return outputs_.contains(value); }

Status sort_nodes(Graph& graph) {
  std::unordered_set<std::string> given;
  for (const ValueInfo& v : graph.inputs) given.insert(v.name);
  for (const auto& [value, tensor] : graph.initializers) given.insert(value);
  const GraphIndex index(graph);

  // Kahn's algorithm, the lowest original position first, so that a sorted graph keeps its order.
  std::vector<int> missing(graph.nodes.size(), 0);
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const std::set<std::string> reads(graph.nodes[i].inputs.begin(), graph.nodes[i].inputs.end());
    for (const std::string& value : reads) {
      if (value.empty() || given.contains(value)) continue;
      if (index.producer(value) < 0) {
        return corrupt(fmt::format("node '{}' ({}): nothing writes its input '{}'",
                                   graph.nodes[i].name, graph.nodes[i].op, value));
      }
      missing[i] += 1;
    }
    if (missing[i] == 0) ready.push(static_cast<int>(i));
  }
  std::vector<int> order;
  while (!ready.empty()) {
    const int i = ready.top();
    ready.pop();
    order.push_back(i);
    for (const std::string& value : graph.nodes[static_cast<size_t>(i)].outputs) {
      if (value.empty() || index.producer(value) != i) continue;
      for (int reader : index.consumers(value)) {
        if (--missing[static_cast<size_t>(reader)] == 0) ready.push(reader);
      }
    }
  }
  if (order.size() != graph.nodes.size()) {
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      if (missing[i] > 0) {
        return corrupt(fmt::format("node '{}' ({}) reads its own result: the graph has a cycle",
                                   graph.nodes[i].name, graph.nodes[i].op));
      }
    }
  }
  std::vector<Node> sorted;
  sorted.reserve(order.size());
  for (int i : order) sorted.push_back(std::move(graph.nodes[static_cast<size_t>(i)]));
  graph.nodes = std::move(sorted);
  return ok_status();
}

void remove_unused(Graph& graph) {
  const GraphIndex index(graph);
  std::unordered_set<std::string> needed;
  std::vector<bool> keep(graph.nodes.size(), false);
  std::vector<std::string> pending;
  for (const ValueInfo& output : graph.outputs) pending.push_back(output.name);
  while (!pending.empty()) {
    const std::string value = std::move(pending.back());
    pending.pop_back();
    if (value.empty() || !needed.insert(value).second) continue;
    const int producer = index.producer(value);
    if (producer < 0 || keep[static_cast<size_t>(producer)]) continue;
    keep[static_cast<size_t>(producer)] = true;
    const Node& node = graph.nodes[static_cast<size_t>(producer)];
    pending.insert(pending.end(), node.inputs.begin(), node.inputs.end());
  }
  size_t kept = 0;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!keep[i]) continue;
    if (kept != i) graph.nodes[kept] = std::move(graph.nodes[i]);
    kept += 1;
  }
  graph.nodes.resize(kept);
  std::erase_if(graph.initializers,
                [&](const auto& entry) { return !needed.contains(entry.first); });
}

}  // namespace pare
