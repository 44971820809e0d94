// equalise: the ranges of neighbouring layers' weights are evened out, channel by channel.
//
// Between two layers with nothing but a ReLU, pooling or reshaping, a channel may be divided by any
// s > 0 in the first and multiplied by it in the second, for those keep positive factors:
//   W1[c, :] / s,  b1[c] / s,  W2[:, c] · s,  s = sqrt(r1[c] / r2[c])
// with the largest magnitudes r1 of W1[c, :] and r2 of W2[:, c], which makes both sqrt(r1 r2).
// Layers in a row are gone through until nothing moves. The model computes the same function, to
// rounding; what is quantised afterwards has channels of like size.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "compress/layers.h"
#include "compress/method.h"

namespace pare {
namespace {

constexpr int kMostRounds = 50;
constexpr double kConverged = 1e-3;  // of a factor, beside 1

// f(a x) = a f(x) for a > 0, for each channel by itself.
bool keeps_factors(const Node& node) {
  static const std::set<std::string> kOps = {
      "Relu",          "LeakyRelu", "PRelu",   "MaxPool", "AveragePool", "GlobalAveragePool",
      "GlobalMaxPool", "Identity",  "Dropout", "Flatten", "Reshape"};
  return node.domain.empty() && kOps.contains(node.op);
}

struct Pair {
  WeightLayer first;
  WeightLayer second;
  int64_t groups = 1;  // of a second convolution
};

// Calls f(channel of the first layer, offset in the second's weight) for each of its elements.
template <typename F>
void for_each_input(const Pair& pair, const Tensor& weight, F&& f) {
  const int64_t channels = pair.first.channels;
  if (pair.second.op == "Conv") {
    const int64_t own = weight.dim(1);
    const int64_t window = weight.size() / (weight.dim(0) * own);
    const int64_t outputs = weight.dim(0) / pair.groups;
    for (int64_t i = 0; i < weight.size(); ++i) {
      const int64_t output = i / (own * window);
      f(output / outputs * own + i / window % own, i);
    }
    return;
  }
  // A channel's pixels lie together once they are flattened.
  const int input_axis = 1 - pair.second.channel_axis;
  const int64_t pixels = weight.dim(input_axis) / channels;
  for_each_weight(weight, input_axis, [&](int64_t input, int64_t i) { f(input / pixels, i); });
}

class PairFinder {
 public:
  PairFinder(const Graph& graph, const ValueInfos& infos)
      : graph_(graph), infos_(infos), index_(graph) {}

  std::vector<Pair> run() const {
    const std::vector<WeightLayer> layers = find_weight_layers(graph_);
    std::vector<Pair> pairs;
    for (const WeightLayer& first : layers) {
      if (!is_own(first)) continue;
      const int at = next_layer(first);
      for (const WeightLayer& second : layers) {
        if (second.node != at || !is_own(second)) continue;
        Pair pair{first, second, node(at).int_attribute("group", 1)};
        if (fits(pair)) pairs.push_back(std::move(pair));
      }
    }
    return pairs;
  }

 private:
  const Node& node(int i) const { return graph_.nodes[static_cast<size_t>(i)]; }

  // Whether nobody else reads the layer's weight and bias, and no bias is computed.
  bool is_own(const WeightLayer& layer) const {
    const bool other_bias =
        layer.op != "MatMul" && node(layer.node).has_input(2) && layer.bias.empty();
    return !other_bias && index_.consumers(layer.weight).size() == 1 &&
           node(layer.node).int_attribute("transA", 0) == 0 &&
           (layer.bias.empty() || index_.consumers(layer.bias).size() == 1);
  }

  // The node behind operators that keep factors which reads the layer's output alone; -1: none.
  int next_layer(const WeightLayer& layer) const {
    int at = layer.bias_node >= 0 ? layer.bias_node : layer.node;
    while (true) {
      const std::string& value = node(at).outputs[0];
      const std::vector<int>& readers = index_.consumers(value);
      if (readers.size() != 1 || index_.is_output(value)) return -1;
      at = readers[0];
      if (node(at).inputs[0] != value) return -1;
      if (!keeps_factors(node(at))) return at;
      if (!keeps_channels(node(at))) return -1;
    }
  }

  // Whether a channel is still one, or a stretch of a flattened image.
  bool keeps_channels(const Node& node) const {
    if (node.op != "Flatten" && node.op != "Reshape") return true;
    const Shape& from = infos_.at(node.inputs[0]).shape;
    const Shape& to = infos_.at(node.outputs[0]).shape;
    if (from.size() < 2 || to.size() < 2 || from[0] != to[0]) return false;
    const bool flat = to.size() == 2 && to[1] == element_count(Shape(from.begin() + 1, from.end()));
    return flat || (from[1] == to[1] && to.size() > 2);
  }

  bool fits(const Pair& pair) const {
    const Shape& input = infos_.at(pair.second.input).shape;
    const Tensor& weight = *graph_.find_initializer(pair.second.weight);
    const int64_t channels = pair.first.channels;
    const bool images = pair.first.op == "Conv";
    if (pair.second.op == "Conv") return images && weight.dim(1) * pair.groups == channels;
    const int64_t inputs = weight.dim(1 - pair.second.channel_axis);
    if (images) return input.size() == 2 && inputs % channels == 0;
    // Reshaped, the channels of a dense layer may stand anywhere.
    return inputs == channels && input.size() == infos_.at(output_of(pair.first)).shape.size();
  }

  const std::string& output_of(const WeightLayer& layer) const {
    return node(layer.node).outputs[0];
  }

  const Graph& graph_;
  const ValueInfos& infos_;
  const GraphIndex index_;
};

// Evens out one pair; returns the largest factor's distance from 1, as max(s, 1/s) - 1.
double even_out(const Pair& pair, Graph& graph) {
  const auto channels = static_cast<size_t>(pair.first.channels);
  Tensor& w1 = graph.initializers.at(pair.first.weight);
  Tensor& w2 = graph.initializers.at(pair.second.weight);
  std::vector<float> r1(channels, 0);
  std::vector<float> r2(channels, 0);
  const auto first = w1.mutable_values<float>();
  const auto second = w2.mutable_values<float>();
  for_each_weight(w1, pair.first.channel_axis, [&](int64_t c, int64_t i) {
    float& r = r1[static_cast<size_t>(c)];
    r = std::max(r, std::fabs(first[static_cast<size_t>(i)]));
  });
  for_each_input(pair, w2, [&](int64_t c, int64_t i) {
    float& r = r2[static_cast<size_t>(c)];
    r = std::max(r, std::fabs(second[static_cast<size_t>(i)]));
  });
  std::vector<float> factors(channels, 1.0F);
  double moved = 0;
  for (size_t c = 0; c < channels; ++c) {
    // A channel that is dead on either side has no range to share.
    if (r1[c] <= 0 || r2[c] <= 0) continue;
    const double s = std::sqrt(static_cast<double>(r1[c]) / r2[c]);
    if (!std::isfinite(s) || static_cast<float>(s) <= 0) continue;
    factors[c] = static_cast<float>(s);
    moved = std::max(moved, std::max(s, 1 / s) - 1);
  }
  for_each_weight(w1, pair.first.channel_axis, [&](int64_t c, int64_t i) {
    first[static_cast<size_t>(i)] /= factors[static_cast<size_t>(c)];
  });
  for_each_input(pair, w2, [&](int64_t c, int64_t i) {
    second[static_cast<size_t>(i)] *= factors[static_cast<size_t>(c)];
  });
  if (pair.first.bias.empty()) return moved;
  const auto bias = graph.initializers.at(pair.first.bias).mutable_values<float>();
  for (size_t c = 0; c < channels; ++c) bias[c] /= factors[c];
  return moved;
}

Result<Graph> apply_equalise(const Graph& graph, const RecipeStep&, CompressContext& context) {
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph));
  const std::vector<Pair> pairs = PairFinder(graph, infos).run();
  if (pairs.empty())
    return invalid_argument(
        "equalise: the model has no two layers with nothing but a ReLU, pooling or reshaping "
        "between them");
  Graph result = graph;
  int rounds = 0;
  double moved = HUGE_VAL;
  while (moved > kConverged && rounds < kMostRounds) {
    moved = 0;
    for (const Pair& pair : pairs) moved = std::max(moved, even_out(pair, result));
    ++rounds;
  }
  for (const Pair& pair : pairs)
    context.report->layers.push_back({{"layer", pair.first.name},
                                      {"next", pair.second.name},
                                      {"channels", pair.first.channels}});
  context.train_from_here();  // the weights before pruning have the ranges as they were
  context.report->summary =
      fmt::format("{} pairs of layers evened out in {} rounds", pairs.size(), rounds);
  return result;
}

}  // namespace

Method make_equalise_method() {
  Method method;
  method.name = "equalise";
  method.summary = "evens out the ranges of neighbouring layers' weights; the answers stay";
  method.source =
      "Nagel et al. 2019, 'Data-Free Quantization Through Weight Equalization and Bias "
      "Correction', section 4.1";
  method.stage = Stage::kFloat;
  method.apply = apply_equalise;
  return method;
}

}  // namespace pare
