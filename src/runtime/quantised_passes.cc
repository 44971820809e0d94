#include "runtime/quantised_passes.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/operator_kinds.h"

namespace pare {
namespace {

bool moves_only(const Node& node) {
  static const char* const kOps[] = {"Reshape", "Flatten",   "Transpose", "Squeeze",
                                     "Slice",   "Unsqueeze", "MaxPool"};
  return node.domain.empty() && node.outputs.size() == 1 &&
         std::any_of(std::begin(kOps), std::end(kOps),
                     [&](const char* op) { return node.op == op; });
}

struct Dequantised {
  Node node;
  Quantisation quantisation;
};

// Nodes in the graph's order, so that a DequantizeLinear passes through a whole row of movers.
class Mover {
 public:
  explicit Mover(Graph graph) : graph_(std::move(graph)) {}

  Result<Graph> run() {
    PARE_ASSIGN_OR_RETURN(infos_, infer_shapes(graph_, 1));
    std::vector<Node> nodes;
    for (Node& node : graph_.nodes) {
      rewrite_inputs(node);
      if (node.op == "DequantizeLinear" && uniform_quantisation(graph_, infos_, node) &&
          graph_.find_initializer(node.inputs[0]) == nullptr) {
        integers_.emplace(node.outputs[0],
                          Dequantised{node, *uniform_quantisation(graph_, infos_, node)});
      } else if (!push_through(node, nodes)) {
        cancel(node);
      }
      nodes.push_back(std::move(node));
    }
    graph_.nodes = std::move(nodes);
    remove_unused(graph_);
    return std::move(graph_);
  }

 private:
  void rewrite_inputs(Node& node) const {
    for (std::string& input : node.inputs) {
      if (auto it = renamed_.find(input); it != renamed_.end()) input = it->second;
    }
  }

  // `node` moves dequantised elements: it moves the integers instead, and a new DequantizeLinear
  // after it gives its old output. Its place in the list goes to the latter.
  bool push_through(Node& node, std::vector<Node>& nodes) {
    const auto it = moves_only(node) ? integers_.find(node.inputs[0]) : integers_.end();
    if (it == integers_.end()) return false;
    Dequantised moved = it->second;
    Node& dequantize = moved.node;
    // The kernels' largest-of-window knows unsigned bytes.
    if (node.op == "MaxPool" && moved.quantisation.type != DType::kUInt8) return false;
    const std::string old_output = node.outputs[0];
    node.inputs[0] = dequantize.inputs[0];
    node.outputs[0] = graph_.fresh_name(old_output + ".integers" + std::to_string(made_++));
    dequantize.inputs[0] = node.outputs[0];
    infos_[node.outputs[0]] = {node.outputs[0], moved.quantisation.type,
                               infos_.at(old_output).shape};
    dequantize.outputs[0] = old_output;
    dequantize.name = node.name + ".dequantize";
    nodes.push_back(std::move(node));
    node = dequantize;
    integers_.emplace(old_output, std::move(moved));
    return true;
  }

  // QuantizeLinear of what was dequantised alike: readers get the integers themselves.
  void cancel(const Node& node) {
    if (node.op == "Cast" && node.domain.empty() &&
        infos_.at(node.outputs[0]).type == DType::kFloat32) {
      const auto from = infos_.find(node.inputs[0]);
      if (from != infos_.end() && from->second.type == DType::kUInt8) {
        bytes_.emplace(node.outputs[0], Dequantised{node, Quantisation{1.0F, 0, DType::kUInt8}});
      }
      return;
    }
    if (node.op != "QuantizeLinear") return;
    const bool from_byte = bytes_.contains(node.inputs[0]);
    const auto& sources = from_byte ? bytes_ : integers_;
    const auto it = sources.find(node.inputs[0]);
    if (it == sources.end()) return;
    for (const ValueInfo& output : graph_.outputs) {
      if (output.name == node.outputs[0]) return;
    }
    const Quantisation& from = it->second.quantisation;
    const auto to = uniform_quantisation(graph_, infos_, node);
    if (!to || from.scale != to->scale || from.zero_point != to->zero_point ||
        from.type != to->type) {
      return;
    }
    renamed_.emplace(node.outputs[0], it->second.node.inputs[0]);
  }

  Graph graph_;
  ValueInfos infos_;
  std::unordered_map<std::string, Dequantised> integers_;  // by the float value
  std::unordered_map<std::string, Dequantised> bytes_;     // by the float value: the Cast of a byte
  std::unordered_map<std::string, std::string> renamed_;
  int made_ = 0;
};

// The pairs that drop_repeated_quantisation() removes.
class RepeatedPairs {
 public:
  explicit RepeatedPairs(Graph graph) : graph_(std::move(graph)) {}

  Result<Graph> run() {
    PARE_ASSIGN_OR_RETURN(infos_, infer_shapes(graph_, 1));
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      producers_.emplace(graph_.nodes[i].outputs[0], i);
      for (const std::string& input : graph_.nodes[i].inputs) readers_[input].push_back(i);
    }
    for (const ValueInfo& output : graph_.outputs) readers_[output.name].push_back(SIZE_MAX);
    // In the graph's order, so that a row of movers loses one pair after the other.
    for (Node& node : graph_.nodes) {
      if (!moves_only(node) || node.op == "MaxPool") continue;
      const Node* dequantise = sole_producer(node.inputs[0], "DequantizeLinear");
      const Node* before =
          dequantise == nullptr ? nullptr : sole_producer(dequantise->inputs[0], "QuantizeLinear");
      const Node* after = sole_reader(node.outputs[0]);
      if (before == nullptr || after == nullptr || after->op != "QuantizeLinear") continue;
      if (same(*before, *dequantise) && same(*before, *after)) node.inputs[0] = before->inputs[0];
    }
    remove_unused(graph_);
    return std::move(graph_);
  }

 private:
  const Node* sole_reader(const std::string& value) const {
    const auto it = readers_.find(value);
    if (it == readers_.end() || it->second.size() != 1 || it->second[0] == SIZE_MAX) return nullptr;
    return &graph_.nodes[it->second[0]];
  }

  // The node of that operator whose output nobody else reads.
  const Node* sole_producer(const std::string& value, const char* op) const {
    const auto it = producers_.find(value);
    if (it == producers_.end() || graph_.nodes[it->second].op != op) return nullptr;
    return sole_reader(value) == nullptr ? nullptr : &graph_.nodes[it->second];
  }

  bool same(const Node& a, const Node& b) const {
    const auto one = uniform_quantisation(graph_, infos_, a);
    const auto two = uniform_quantisation(graph_, infos_, b);
    return one && two && one->scale == two->scale && one->zero_point == two->zero_point &&
           one->type == two->type;
  }

  Graph graph_;
  ValueInfos infos_;
  std::unordered_map<std::string, size_t> producers_;
  std::unordered_map<std::string, std::vector<size_t>> readers_;
};

}  // namespace

Result<Graph> drop_repeated_quantisation(Graph graph) {
  return RepeatedPairs(std::move(graph)).run();
}

Result<Graph> simplify_quantisation(Graph graph) { return Mover(std::move(graph)).run(); }

}  // namespace pare
