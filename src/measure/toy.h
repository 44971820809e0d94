// For the tests of this room: a model whose scores are its pixels, and images made for it.
#ifndef PARE_MEASURE_TOY_H_
#define PARE_MEASURE_TOY_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pare/session.h"

#include "data/memory_dataset.h"
#include "graph/graph.h"

namespace pare::measure_toy {

// Images of 3 x 1 x 2; the score of class c is pixel c times gain[c].
inline Graph pixel_model(const std::vector<float>& gain = std::vector<float>(6, 1.0F)) {
  Graph g;
  g.name = "pixels";
  g.inputs = {{"image", DType::kUInt8, {kDynamic, 3, 1, 2}}};
  g.outputs = {{"scores", DType::kFloat32, {kDynamic, 6}}};
  g.contract.height = 1;
  g.contract.width = 2;
  std::vector<float> weights(36, 0.0F);
  for (size_t c = 0; c < 6; ++c) weights[7 * c] = gain[c];
  g.initializers["w"] = Tensor::from_values<float>({6, 6}, weights);
  g.nodes = {{"Cast", "", "cast", {"image"}, {"x"}, {{"to", int64_t{1}}}},
             {"Flatten", "", "flatten", {"x"}, {"flat"}, {}},
             {"MatMul", "", "scale", {"flat", "w"}, {"scores"}, {}}};
  return g;
}

// int8 weights (row-major, class by class) and uint8 activations, as `pare compress` writes them;
// the scores are whole numbers and a half of them: exact in floats, whoever computes them.
inline Graph int8_model(const std::vector<int8_t>& weights) {
  Graph g = pixel_model();
  g.name = "int8";
  g.initializers = {{"one", Tensor::scalar<float>(1.0F)},
                    {"zero", Tensor::scalar<uint8_t>(0)},
                    {"half", Tensor::from_values<float>({6}, std::vector<float>(6, 0.5F))},
                    {"w8", Tensor::from_values<int8_t>({6, 6}, weights)}};
  const std::map<std::string, Attribute> first_axis = {{"axis", int64_t{0}}};
  g.nodes = {{"Cast", "", "cast", {"image"}, {"x"}, {{"to", int64_t{1}}}},
             {"Flatten", "", "flatten", {"x"}, {"flat"}, {}},
             {"QuantizeLinear", "", "q", {"flat", "one", "zero"}, {"x8"}, {}},
             {"DequantizeLinear", "", "dq", {"x8", "one", "zero"}, {"xf"}, {}},
             {"DequantizeLinear", "", "weights", {"w8", "half"}, {"wf"}, first_axis},
             {"Gemm", "", "fc", {"xf", "wf"}, {"scores"}, {{"transB", int64_t{1}}}}};
  return g;
}

inline std::shared_ptr<const Dataset> images(std::vector<uint8_t> pixels,
                                             std::vector<int32_t> labels,
                                             std::vector<std::string> classes = {"a", "b", "c", "d",
                                                                                 "e", "f"}) {
  auto data = MemoryDataset::create({3, 1, 2}, std::move(pixels), std::move(labels),
                                    std::move(classes), "toys");
  return data.ok() ? *data : nullptr;
}

inline Session session_of(const Graph& graph) {
  auto session = Session::from_graph(graph, {.threads = 2});
  EXPECT_TRUE(session.ok()) << session.status().message();
  return *std::move(session);
}

// `count` images of bytes that repeat only after a long time, labelled 0, 1, … 5, 0, …
inline std::shared_ptr<const Dataset> many_images(int64_t count) {
  std::vector<uint8_t> pixels(static_cast<size_t>(6 * count));
  uint32_t state = 1;
  for (uint8_t& p : pixels) {
    state = state * 1664525U + 1013904223U;
    p = static_cast<uint8_t>(state >> 24);
  }
  std::vector<int32_t> labels(static_cast<size_t>(count));
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int32_t>(i % 6);
  return images(std::move(pixels), std::move(labels));
}

}  // namespace pare::measure_toy

#endif  // PARE_MEASURE_TOY_H_
