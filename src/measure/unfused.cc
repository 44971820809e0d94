// why_unfused() of gain.h: the rules by which runtime/fusion.h makes integer products of
// DequantizeLinear -> product -> QuantizeLinear, asked one by one.
#include <fmt/format.h>

#include <algorithm>

#include "base/dtype.h"
#include "graph/shapes.h"
#include "measure/gain.h"
#include "runtime/operator_kinds.h"
#include "runtime/planner.h"

namespace pare {
namespace {

class Asker {
 public:
  static Result<Asker> create(const Graph& graph) {
    PARE_ASSIGN_OR_RETURN(ValueInfos infos, infer_shapes(graph, 1));
    return Asker(graph, std::move(infos));
  }

  // Empty when the product has no quantised weights, or no reason is known.
  std::string product(const Node& node) const {
    if (node.inputs.size() < 2) return "";
    const Node* weights = producer(node.inputs[1]);
    if (weights == nullptr || weights->op != "DequantizeLinear") return "";
    const Tensor* codes = graph_.find_initializer(weights->inputs[0]);
    if (codes == nullptr) return "";
    if (codes->type() != DType::kInt8) {
      return fmt::format("its weights are {}, and integer kernels take int8",
                         dtype_name(codes->type()));
    }
    if (const Tensor* zero = input_tensor(*weights, 2); zero != nullptr && !all_zero(zero)) {
      return "its weights have a zero point other than 0";
    }
    if (std::string why = source(node.inputs[0]); !why.empty()) return why;
    if (node.op == "Gemm" &&
        (node.float_attribute("alpha", 1.0F) != 1.0F ||
         node.float_attribute("beta", 1.0F) != 1.0F || node.int_attribute("transA", 0) != 0)) {
      return "the Gemm scales or transposes its operands";
    }
    return "its weights have scales along another dimension than their output channels";
  }

  // Of a quantisation that runs as a step of its own.
  std::string quantisation(const Node& node) const {
    const Node* from = producer(node.inputs[0]);
    if (from == nullptr) return "it rounds the model's input, which no layer computes";
    const std::vector<int>& readers = index_.consumers(node.inputs[0]);
    if (readers.size() > 1) {
      return fmt::format("the result of '{}' has {} readers, one of which wants it as it is",
                         from->name, readers.size());
    }
    return fmt::format("'{}' ({}) has no kernel that rounds its result", from->name, from->op);
  }

 private:
  Asker(const Graph& graph, ValueInfos infos)
      : graph_(graph), index_(graph), infos_(std::move(infos)) {}

  const Node* producer(const std::string& value) const {
    const int i = index_.producer(value);
    return i < 0 ? nullptr : &graph_.nodes[static_cast<size_t>(i)];
  }
  const Tensor* input_tensor(const Node& node, size_t input) const {
    return node.has_input(input) ? graph_.find_initializer(node.inputs[input]) : nullptr;
  }

  std::string source(const std::string& value) const {
    const Node* from = producer(value);
    if (from == nullptr || from->op != "DequantizeLinear") {
      return fmt::format("its input '{}' is not quantised", value);
    }
    const auto uniform = uniform_quantisation(graph_, infos_, *from);
    if (!uniform) return "its input has several scales, or one that is not constant";
    if (uniform->type != DType::kUInt8) {
      return fmt::format("its input is {}, and integer kernels take uint8",
                         dtype_name(uniform->type));
    }
    return "";
  }

  const Graph& graph_;
  GraphIndex index_;
  ValueInfos infos_;
};

}  // namespace

Result<std::map<std::string, std::string>> why_unfused(const Graph& graph,
                                                       const std::vector<LayerPlan>& plan) {
  PARE_ASSIGN_OR_RETURN(const Graph prepared, prepare_graph(graph));
  PARE_ASSIGN_OR_RETURN(const Asker asker, Asker::create(prepared));
  std::map<std::string, std::string> reasons;
  for (const LayerPlan& layer : plan) {
    const auto node = std::ranges::find(prepared.nodes, layer.name, &Node::name);
    if (node == prepared.nodes.end() || layer.arithmetic == "int8") continue;
    const bool alone = layer.operation == "QuantizeLinear" && node->op == "QuantizeLinear";
    // A copy in front of a product has the product's name.
    if (!alone && layer.macs == 0) continue;
    const std::string why = alone ? asker.quantisation(*node) : asker.product(*node);
    if (!why.empty()) reasons[layer.name] = why;
  }
  return reasons;
}

}  // namespace pare
