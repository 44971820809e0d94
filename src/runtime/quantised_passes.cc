#include "runtime/quantised_passes.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

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

}  // namespace

Result<Graph> simplify_quantisation(Graph graph) { return Mover(std::move(graph)).run(); }

}  // namespace pare
