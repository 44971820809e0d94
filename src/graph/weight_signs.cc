#include "graph/weight_signs.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace pare {
namespace {

// Where a node reads weights of eight bits and their zero point.
struct WeightInputs {
  size_t weights = 0;
  size_t zero_point = 0;
};

bool reads_weights(const Node& node, WeightInputs& inputs) {
  if (!node.domain.empty()) return false;
  if (node.op == "DequantizeLinear") inputs = {0, 2};
  if (node.op == "MatMulInteger") inputs = {1, 3};
  return node.op == "DequantizeLinear" || node.op == "MatMulInteger";
}

// A byte with the other sign is the byte with its highest bit turned over, in both directions.
Tensor turned(const Tensor& tensor, DType type) {
  Tensor result(type, tensor.shape());
  std::transform(tensor.data(), tensor.data() + tensor.byte_count(), result.mutable_data(),
                 [](std::byte b) { return b ^ std::byte{0x80}; });
  return result;
}

class SignTurner {
 public:
  SignTurner(Graph graph, DType from, DType to)
      : graph_(std::move(graph)), index_(graph_), from_(from), to_(to) {}

  Graph run() {
    std::vector<std::string> weights;
    for (const auto& [name, tensor] : graph_.initializers) {
      if (tensor.type() == from_ && tensor.rank() >= 2 && !index_.is_output(name) &&
          can_turn(name)) {
        weights.push_back(name);
      }
    }
    for (const std::string& name : weights) turn(name);
    return std::move(graph_);
  }

 private:
  // What stands for zero before: none, or a constant of nothing but it.
  bool is_middle(const Tensor& zero_point) const {
    const auto middle = from_ == DType::kUInt8 ? std::byte{128} : std::byte{0};
    return zero_point.type() == from_ && zero_point.size() > 0 &&
           std::all_of(zero_point.data(), zero_point.data() + zero_point.byte_count(),
                       [middle](std::byte b) { return b == middle; });
  }

  bool reads_as_weights(const Node& node, const std::string& name) const {
    WeightInputs at;
    if (!reads_weights(node, at) || std::count(node.inputs.begin(), node.inputs.end(), name) != 1 ||
        node.inputs[at.weights] != name) {
      return false;
    }
    // No zero point is 0, which only signed weights have in their middle.
    if (!node.has_input(at.zero_point)) return from_ == DType::kInt8;
    const std::string& zero_point = node.inputs[at.zero_point];
    const Tensor* tensor = graph_.find_initializer(zero_point);
    if (tensor == nullptr || !is_middle(*tensor) || index_.is_output(zero_point)) return false;
    // It is turned with the weights, so it may be nobody else's.
    const auto& readers = index_.consumers(zero_point);
    return readers.size() == 1;
  }

  bool can_turn(const std::string& name) const {
    const auto& readers = index_.consumers(name);
    return readers.size() == 1 &&
           reads_as_weights(graph_.nodes[static_cast<size_t>(readers[0])], name);
  }

  void turn(const std::string& name) {
    Node& node = graph_.nodes[static_cast<size_t>(index_.consumers(name)[0])];
    WeightInputs at;
    reads_weights(node, at);
    Tensor& weights = graph_.initializers.at(name);
    weights = turned(weights, to_);
    if (node.has_input(at.zero_point)) {
      Tensor& zero_point = graph_.initializers.at(node.inputs[at.zero_point]);
      zero_point = turned(zero_point, to_);
      return;
    }
    // As many zero points as scales; MatMulInteger has no scales, and one will do.
    const std::string zero_point = graph_.fresh_name(name + ".zero_point");
    const Tensor* scale =
        node.op == "DequantizeLinear" ? graph_.find_initializer(node.inputs[1]) : nullptr;
    const Shape shape = scale == nullptr ? Shape{} : scale->shape();
    graph_.initializers[zero_point] = turned(Tensor(from_, shape), to_);
    node.inputs.resize(at.zero_point + 1);
    node.inputs[at.zero_point] = zero_point;
  }

  Graph graph_;
  const GraphIndex index_;
  const DType from_;
  const DType to_;
};

}  // namespace

Graph with_unsigned_weights(Graph graph) {
  return SignTurner(std::move(graph), DType::kInt8, DType::kUInt8).run();
}

Graph with_signed_weights(Graph graph) {
  return SignTurner(std::move(graph), DType::kUInt8, DType::kInt8).run();
}

}  // namespace pare
