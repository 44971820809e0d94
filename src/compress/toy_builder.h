// Builds small nets node by node, weights drawn with a seed; for the tests of this room.
#ifndef PARE_COMPRESS_TOY_BUILDER_H_
#define PARE_COMPRESS_TOY_BUILDER_H_

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "graph/graph.h"

namespace pare::toy {

inline constexpr int64_t kSize = 8;  // of an image, both ways
inline constexpr int64_t kClasses = 4;

class Builder {
 public:
  explicit Builder(uint64_t seed) : rng_(seed, RngPurpose::kTest) {}

  Graph graph;

  // What every net begins with: uint8 [N, 3, 8, 8], scaled to values near ±1.
  std::string begin(const std::string& name, int64_t opset) {
    graph.name = name;
    graph.opset = opset;
    graph.inputs = {{"input", DType::kUInt8, {kDynamic, 3, kSize, kSize}}};
    graph.contract.height = graph.contract.width = kSize;
    graph.contract.classes = {"a", "b", "c", "d"};
    std::string x = add("Cast", "cast", {"input"}, {{"to", int64_t{1}}});
    x = add("Mul", "scaled", {x, floats("scale", {1, 3, 1, 1}, 0.0005F, 1.0F / 64)});
    return add("Add", "normalised", {x, floats("shift", {1, 3, 1, 1}, 0.1F, -2.0F)});
  }

  std::string add(const std::string& op, const std::string& name, std::vector<std::string> inputs,
                  std::map<std::string, Attribute> attributes = {}) {
    Node node;
    node.op = op;
    node.name = name;
    node.inputs = std::move(inputs);
    node.outputs = {name};
    node.attributes = std::move(attributes);
    graph.nodes.push_back(std::move(node));
    return name;
  }

  std::string floats(const std::string& name, const Shape& shape, float spread, float mean = 0) {
    Tensor tensor(DType::kFloat32, shape);
    for (float& v : tensor.mutable_values<float>()) v = mean + spread * rng_.normal();
    graph.initializers[name] = std::move(tensor);
    return name;
  }

  std::string weights(const std::string& name, const Shape& shape, int64_t fan_in) {
    return floats(name, shape, std::sqrt(2.0F / static_cast<float>(fan_in)));
  }

 private:
  Rng rng_;
};

}  // namespace pare::toy

#endif  // PARE_COMPRESS_TOY_BUILDER_H_
