#include "compress/weight_matrix.h"

namespace pare {

WeightMatrix weight_matrix(const Graph& graph, const WeightLayer& layer) {
  const Tensor& weight = *graph.find_initializer(layer.weight);
  WeightMatrix shape;
  shape.outputs = layer.channels;
  shape.k = weight.size() / layer.channels;
  shape.k_major = layer.channel_axis == 1;
  if (layer.op == "Conv") {
    shape.groups = graph.nodes[static_cast<size_t>(layer.node)].int_attribute("group", 1);
    shape.taps = shape.k / weight.dim(1);
  }
  return shape;
}

std::vector<int64_t> channels_innermost(const WeightMatrix& shape) {
  std::vector<int64_t> order(static_cast<size_t>(shape.k));
  const int64_t channels = shape.channels();
  for (int64_t tap = 0; tap < shape.taps; ++tap)
    for (int64_t c = 0; c < channels; ++c)
      order[static_cast<size_t>(tap * channels + c)] = c * shape.taps + tap;
  return order;
}

std::vector<float> read_rows(const Tensor& weight, const WeightMatrix& shape,
                             std::span<const int64_t> order) {
  const auto values = weight.values<float>();
  std::vector<float> rows(static_cast<size_t>(shape.outputs * shape.k));
  for (int64_t o = 0; o < shape.outputs; ++o)
    for (int64_t c = 0; c < shape.k; ++c) {
      const int64_t at = offset_of(shape, o, order[static_cast<size_t>(c)]);
      rows[static_cast<size_t>(o * shape.k + c)] = values[static_cast<size_t>(at)];
    }
  return rows;
}

}  // namespace pare
