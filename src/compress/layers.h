// Weight layers: the operators whose constant float32 weights compression works on.
//
//   Conv    weights [O, I/g, kh, kw]   output channel: axis 0
//   Gemm    weights [O, I] if transB, else [I, O]
//   MatMul  weights [I, O] as the second input
//
// Biases, norms, embeddings and products of two activations are not weight layers.
#ifndef PARE_COMPRESS_LAYERS_H_
#define PARE_COMPRESS_LAYERS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/tensor.h"
#include "graph/graph.h"

namespace pare {

struct WeightLayer {
  int node = -1;       // index into graph.nodes
  std::string name;    // the node's
  std::string op;      // "Conv", "Gemm", "MatMul"
  std::string input;   // the activation it reads
  std::string weight;  // initializer
  // Initializer of one value a channel, empty: none, or not constant. A MatMul's bias is the
  // constant of the Add behind it, if that is its only reader.
  std::string bias;
  int bias_node = -1;    // the Add behind a MatMul
  int channel_axis = 0;  // the weight's axis of output channels
  int64_t channels = 0;
  int64_t size = 0;  // weights
};

// In the order of the nodes. Layers that share a weight are all listed.
std::vector<WeightLayer> find_weight_layers(const Graph& graph);

// Names a layer by its node or its weight; empty on a match for each name, else the error lists the
// layers there are.
Status check_layer_names(const std::vector<WeightLayer>& layers,
                         const std::vector<std::string>& names, const std::string& option);
bool is_named(const WeightLayer& layer, const std::vector<std::string>& names);

// Calls f(channel, offset of the weight's element) for each element, in memory order.
template <typename F>
void for_each_weight(const Tensor& weight, int channel_axis, F&& f) {
  int64_t inner = 1;
  for (int axis = channel_axis + 1; axis < weight.rank(); ++axis) inner *= weight.dim(axis);
  const int64_t channels = weight.dim(channel_axis);
  int64_t channel = 0;
  for (int64_t i = 0; i < weight.size(); i += inner) {
    for (int64_t j = 0; j < inner; ++j) f(channel, i + j);
    if (++channel == channels) channel = 0;
  }
}

// kNumeric, naming the tensor and element, when a floating initializer holds a NaN or an infinity.
Status check_finite_weights(const Graph& graph);

}  // namespace pare

#endif  // PARE_COMPRESS_LAYERS_H_
