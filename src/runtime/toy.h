// Small nets for the runtime's tests, of every kind of step that a classifier has.
#ifndef PARE_RUNTIME_TOY_H_
#define PARE_RUNTIME_TOY_H_

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "graph/graph.h"

namespace pare {

// Builds graphs node by node with random weights.
class Net {
 public:
  explicit Net(uint64_t seed, int64_t channels = 3, int64_t size = 12)
      : rng_(seed, RngPurpose::kTest) {
    graph.opset = 20;
    graph.name = "net";
    graph.inputs = {{"input", DType::kUInt8, {kDynamic, channels, size, size}}};
    graph.contract.height = graph.contract.width = size;
    graph.contract.channels = channels;
  }

  std::string add(const std::string& op, std::vector<std::string> inputs,
                  std::map<std::string, Attribute> attributes = {}) {
    Node node;
    node.op = op;
    node.name = op + std::to_string(graph.nodes.size());
    node.inputs = std::move(inputs);
    node.outputs = {node.name + ".y"};
    node.attributes = std::move(attributes);
    graph.nodes.push_back(node);
    return node.outputs[0];
  }
  std::string constant(Tensor tensor) {
    const std::string name = "c" + std::to_string(graph.initializers.size());
    graph.initializers[name] = std::move(tensor);
    return name;
  }
  std::string floats(const Shape& shape, float spread) {
    Tensor t(DType::kFloat32, shape);
    for (float& v : t.mutable_values<float>()) v = rng_.uniform(-spread, spread);
    return constant(std::move(t));
  }
  std::string weights(const Shape& shape) {
    const float fan = static_cast<float>(element_count(shape) / shape[0]);
    return floats(shape, std::sqrt(6.0F / fan));
  }
  std::string normalised() {
    const std::string x = add("Cast", {"input"}, {{"to", int64_t{1}}});
    const std::string y = add("Mul", {x, floats({1, 3, 1, 1}, 0.01F)});
    return add("Add", {y, floats({1, 3, 1, 1}, 0.5F)});
  }

  // QDQ, as `pare compress` writes it.
  std::string scalar(float v) { return constant(Tensor::scalar<float>(v)); }
  std::string zero_point(uint8_t v) { return constant(Tensor::scalar<uint8_t>(v)); }
  std::string quantised(const std::string& x, float scale, uint8_t zero) {
    const std::string s = scalar(scale);
    const std::string z = zero_point(zero);
    return add("DequantizeLinear", {add("QuantizeLinear", {x, s, z}), s, z});
  }
  // int8 weights with a scale for each output channel, and an int32 bias in units of x_scale *
  // scale.
  std::vector<std::string> int8_parameters(const Shape& shape, int64_t axis, float x_scale) {
    Tensor w(DType::kInt8, shape);
    for (int8_t& v : w.mutable_values<int8_t>()) v = static_cast<int8_t>(rng_.below(255));
    for (int8_t& v : w.mutable_values<int8_t>()) v = v == -128 ? 0 : v;
    const int64_t n = shape[static_cast<size_t>(axis)];
    const double fan = static_cast<double>(element_count(shape) / n);
    Tensor scale(DType::kFloat32, {n});
    Tensor bias_scale(DType::kFloat32, {n});
    Tensor bias(DType::kInt32, {n});
    for (int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<size_t>(i);
      const float s = static_cast<float>(1.5 / (127 * std::sqrt(fan))) * rng_.uniform(0.5F, 1.5F);
      scale.mutable_values<float>()[at] = s;
      bias_scale.mutable_values<float>()[at] = x_scale * s;
      bias.mutable_values<int32_t>()[at] = static_cast<int32_t>(rng_.below(4000)) - 2000;
    }
    const std::string ws = constant(std::move(scale));
    const std::string bs = constant(std::move(bias_scale));
    return {add("DequantizeLinear", {constant(std::move(w)), ws}, {{"axis", axis}}),
            add("DequantizeLinear", {constant(std::move(bias)), bs}, {{"axis", int64_t{0}}})};
  }
  Graph finish(const std::string& value, int64_t classes) {
    graph.outputs = {{value, DType::kFloat32, {kDynamic, classes}}};
    return graph;
  }

  Graph graph;

 private:
  Rng rng_;
};

// Image bytes -> conv -> conv and residual -> pool -> dense -> GELU -> dense.
inline Graph float_net() {
  Net net(1);
  std::string x = net.normalised();
  x = net.add("Conv", {x, net.weights({8, 3, 3, 3}), net.floats({8}, 0.1F)});
  x = net.add("Relu", {x});
  std::string y = net.add("Conv", {x, net.weights({8, 8, 3, 3}), net.floats({8}, 0.1F)},
                          {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  x = net.add("Relu", {net.add("Add", {y, x})});
  x = net.add(
      "MaxPool", {x},
      {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  x = net.add("Flatten", {x});
  x = net.add("Gemm", {x, net.weights({40, 200}), net.floats({40}, 0.1F)},
              {{"transB", int64_t{1}}});
  x = net.add("Gelu", {x});
  x = net.add("MatMul", {x, net.weights({40, 10})});
  return net.finish(x, 10);
}

// Image bytes -> conv -> pool -> conv -> residual -> dense -> GELU -> dense, in QDQ form.
inline Graph quantised_net() {
  Net net(2);
  std::string x = net.add("Cast", {"input"}, {{"to", int64_t{1}}});
  x = net.quantised(x, 1.0F, 0);
  auto p = net.int8_parameters({8, 3, 3, 3}, 0, 1.0F);
  x = net.add("Relu", {net.add("Conv", {x, p[0], p[1]})});
  x = net.quantised(x, 2.0F, 0);
  x = net.add(
      "MaxPool", {x},
      {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  x = net.quantised(x, 2.0F, 0);
  p = net.int8_parameters({8, 8, 3, 3}, 0, 2.0F);
  std::string y = net.add("Conv", {x, p[0], p[1]}, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  y = net.quantised(y, 5.0F, 120);
  x = net.quantised(net.add("Relu", {net.add("Add", {y, x})}), 4.0F, 3);
  x = net.add("Flatten", {x});
  x = net.quantised(x, 4.0F, 3);
  p = net.int8_parameters({40, 200}, 0, 4.0F);
  x = net.add("Gemm", {x, p[0], p[1]}, {{"transB", int64_t{1}}});
  x = net.add("Gelu", {x});
  x = net.quantised(x, 8.0F, 7);
  p = net.int8_parameters({40, 10}, 1, 8.0F);
  x = net.add("Add", {net.add("MatMul", {x, p[0]}), net.floats({10}, 1.0F)});
  return net.finish(x, 10);
}

}  // namespace pare

#endif  // PARE_RUNTIME_TOY_H_
