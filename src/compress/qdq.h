// QDQ: how integer arithmetic is written in ONNX, and where it goes in a graph.
//
//   activation   QuantizeLinear -> DequantizeLinear, uint8, one scale a tensor
//   weight       int8 initializer -> DequantizeLinear, one scale a channel, zero point 0;
//                4 bits: int4 (opset 21), for groups with a scale a block of inputs (block_size)
//   bias         int32 initializer -> DequantizeLinear, scale = x_scale * w_scale, zero point 0
//                (w_scale: the channel's)
//
// An engine that fuses DequantizeLinear -> operator -> (ReLU) -> QuantizeLinear computes in true
// integers; any other computes the same values in float.
//
// A value that a weight layer reads is quantised where it comes from: operators that only move
// values or take their maximum (pooling, flattening, transposing) work on the integers themselves,
// between a pair with the same scale on either side, which changes nothing:
// quantise(dequantise(q)) = q. Where some other reader needs such a value in float, quantisation
// begins behind it.
#ifndef PARE_COMPRESS_QDQ_H_
#define PARE_COMPRESS_QDQ_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "compress/layers.h"
#include "compress/quantise.h"
#include "compress/quantise_weights.h"
#include "graph/graph.h"

namespace pare {

// Which values become integers.
struct QdqPlan {
  // Quantised value -> the value whose range is its own: itself, or where it comes from through
  // operators that move values.
  std::map<std::string, std::string> roots;
  std::set<std::string> for_all_readers;  // values that float operators too read as integers
  std::set<int> moving_nodes;             // nodes that work on integers without being weight layers
  // Roots that are images: a uint8 input behind nothing but a Cast (exact: scale 1, zero point 0),
  // or behind constant arithmetic too (quantised over the whole range that images have).
  std::map<std::string, std::string> exact_images;  // root -> graph input
  std::set<std::string> scaled_images;
};
QdqPlan plan_qdq(const Graph& graph, const std::vector<WeightLayer>& layers);

// Also quantises these values (which float operators read), for all their readers.
void add_outputs(const Graph& graph, const std::vector<std::string>& values, QdqPlan& plan);

struct WeightRule {
  WeightFormat format;  // groups are for dense layers; a convolution's channels have one scale each
  RoundWeights round = round_to_nearest;
};

struct LayerScales {
  ActivationScale input;
  QuantisedWeights weights;
  std::string bias;  // int32 initializer; empty: the layer has none
  std::vector<float> bias_scales;
  int64_t zero_channels = 0;
  double weight_snr_db = 0;  // signal to noise of the rounded weights
};

// Rewrites the graph; `scales` by root, `rules` one a layer. Returns what each layer got, in the
// layers' order. Errors: what rounding refuses.
Result<std::vector<LayerScales>> write_qdq(const std::vector<WeightLayer>& layers,
                                           const QdqPlan& plan,
                                           const std::map<std::string, ActivationScale>& scales,
                                           const std::vector<WeightRule>& rules, Graph& graph);

// The largest magnitude of a bias: half of what int32 holds, room for the sum of products.
inline constexpr int32_t kLargestBias = 1 << 30;

}  // namespace pare

#endif  // PARE_COMPRESS_QDQ_H_
