// smooth: what is hard to quantise in activations behind a layer norm moves into the weights.
//
// A channel j of a layer norm's output may be divided by any s > 0 if the layers that read it
// multiply it again, and the division is free, for the norm has a factor a channel:
//   γ[j] / s,  β[j] / s,  W[j, :] · s  for every layer behind it,
//   s = max|x[j]|^α / max|W[j, :]|^(1 - α)
// with the largest magnitudes on calibration images. α = 0.5 shares an outlier evenly between
// activation and weights, 1 gives it to the weights alone. The model computes the same function, to
// rounding.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "compress/calibrate.h"
#include "compress/layers.h"
#include "compress/method.h"

namespace pare {
namespace {

// A layer norm and all the layers that read it.
struct SmoothedNorm {
  int node = -1;
  std::string output;
  std::string gamma;
  std::string beta;  // empty: none
  int64_t channels = 0;
  std::vector<WeightLayer> readers;
};

class NormFinder {
 public:
  NormFinder(const Graph& graph, const ValueInfos& infos)
      : graph_(graph), infos_(infos), index_(graph), layers_(find_weight_layers(graph)) {}

  std::vector<SmoothedNorm> run() const {
    std::vector<SmoothedNorm> norms;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      if (node.op != "LayerNormalization" || !node.domain.empty()) continue;
      SmoothedNorm norm;
      norm.node = static_cast<int>(i);
      if (describe(node, norm) && add_readers(norm.output, norm)) norms.push_back(std::move(norm));
    }
    return norms;
  }

 private:
  // A vector of factors of its own, over the last axis alone.
  bool is_own_vector(const std::string& name, int64_t channels) const {
    const Tensor* tensor = graph_.find_initializer(name);
    return tensor != nullptr && tensor->type() == DType::kFloat32 && tensor->rank() == 1 &&
           tensor->size() == channels && index_.consumers(name).size() == 1;
  }

  bool describe(const Node& node, SmoothedNorm& norm) const {
    norm.output = node.outputs[0];
    norm.channels = infos_.at(norm.output).shape.back();
    norm.gamma = node.inputs[1];
    if (node.has_input(2)) norm.beta = node.inputs[2];
    return node.outputs.size() == 1 && norm.channels > 0 &&
           is_own_vector(norm.gamma, norm.channels) &&
           (norm.beta.empty() || is_own_vector(norm.beta, norm.channels));
  }

  const WeightLayer* dense_layer_at(int node) const {
    const auto found = std::find_if(layers_.begin(), layers_.end(), [node](const auto& layer) {
      return layer.node == node && layer.op != "Conv";
    });
    return found == layers_.end() ? nullptr : &*found;
  }

  // Whether all that read `value` are dense layers, perhaps behind a flattening that leaves the
  // channels innermost.
  bool add_readers(const std::string& value, SmoothedNorm& norm) const {
    if (index_.is_output(value) || index_.consumers(value).empty()) return false;
    for (const int reader : index_.consumers(value)) {
      const Node& node = graph_.nodes[static_cast<size_t>(reader)];
      if (const WeightLayer* layer = dense_layer_at(reader)) {
        const Tensor& weight = *graph_.find_initializer(layer->weight);
        if (layer->input != value || node.int_attribute("transA", 0) != 0 ||
            index_.consumers(layer->weight).size() != 1 ||
            weight.dim(1 - layer->channel_axis) % norm.channels != 0)
          return false;
        norm.readers.push_back(*layer);
        continue;
      }
      static const std::set<std::string> kKeepOrder = {"Flatten", "Reshape", "Identity", "Dropout"};
      const bool keeps = node.domain.empty() && kKeepOrder.contains(node.op) &&
                         infos_.at(node.outputs[0]).shape.back() % norm.channels == 0;
      if (!keeps || !add_readers(node.outputs[0], norm)) return false;
    }
    return true;
  }

  const Graph& graph_;
  const ValueInfos& infos_;
  const GraphIndex index_;
  const std::vector<WeightLayer> layers_;
};

// Largest magnitude of each channel of the norms' outputs, by value.
using ChannelMaxima = std::map<std::string, std::vector<float>>;
Result<ChannelMaxima> channel_maxima(const Graph& graph, const std::vector<SmoothedNorm>& norms,
                                     const Dataset& images, const CompressContext& context) {
  ChannelMaxima maxima;
  ForwardOptions options;
  options.batch_size = context.batch_size;
  options.threads = context.threads;
  for (const SmoothedNorm& norm : norms) options.keep.push_back(norm.output);
  options.show = [&maxima](const std::string& name, const Tensor& value) -> Status {
    std::vector<float>& largest = maxima[name];
    largest.resize(static_cast<size_t>(value.dim(-1)), 0.0F);
    const auto values = value.values<float>();
    for (size_t i = 0; i < values.size(); ++i) {
      if (!std::isfinite(values[i]))
        return numeric_error(fmt::format(
            "value '{}' holds NaN or infinite elements on the calibration images", name));
      float& most = largest[i % largest.size()];
      most = std::max(most, std::fabs(values[i]));
    }
    return ok_status();
  };
  PARE_RETURN_IF_ERROR(forward(graph, images, options).status());
  return maxima;
}

// Calls f(channel of the norm, offset) for each weight of a layer that reads it.
template <typename F>
void for_each_channel_weight(const SmoothedNorm& norm, const WeightLayer& layer,
                             const Tensor& weight, F&& f) {
  for_each_weight(weight, 1 - layer.channel_axis,
                  [&](int64_t input, int64_t i) { f(input % norm.channels, i); });
}

std::vector<float> smoothing_factors(const SmoothedNorm& norm, const std::vector<float>& activation,
                                     double alpha, const Graph& graph) {
  const auto channels = static_cast<size_t>(norm.channels);
  std::vector<float> weights(channels, 0.0F);
  for (const WeightLayer& layer : norm.readers) {
    const Tensor& weight = graph.initializers.at(layer.weight);
    const auto values = weight.values<float>();
    for_each_channel_weight(norm, layer, weight, [&](int64_t channel, int64_t i) {
      float& most = weights[static_cast<size_t>(channel)];
      most = std::max(most, std::fabs(values[static_cast<size_t>(i)]));
    });
  }
  std::vector<float> factors(channels, 1.0F);
  for (size_t c = 0; c < channels; ++c) {
    // A channel that is always zero, or that nobody weighs, stays as it is.
    if (activation[c] <= 0 || weights[c] <= 0) continue;
    const double s = std::pow(activation[c], alpha) / std::pow(weights[c], 1 - alpha);
    if (std::isfinite(s) && static_cast<float>(s) > 0) factors[c] = static_cast<float>(s);
  }
  return factors;
}

void smooth_norm(const SmoothedNorm& norm, const std::vector<float>& factors, Graph& graph) {
  for (const std::string& name : {norm.gamma, norm.beta}) {
    if (name.empty()) continue;
    const auto values = graph.initializers.at(name).mutable_values<float>();
    for (size_t c = 0; c < values.size(); ++c) values[c] /= factors[c];
  }
  for (const WeightLayer& layer : norm.readers) {
    Tensor& weight = graph.initializers.at(layer.weight);
    const auto values = weight.mutable_values<float>();
    for_each_channel_weight(norm, layer, weight, [&](int64_t channel, int64_t i) {
      values[static_cast<size_t>(i)] *= factors[static_cast<size_t>(channel)];
    });
  }
}

Result<Graph> apply_smooth(const Graph& graph, const RecipeStep& step, CompressContext& context) {
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph));
  const std::vector<SmoothedNorm> norms = NormFinder(graph, infos).run();
  if (norms.empty())
    return invalid_argument(
        "smooth: the model has no LayerNormalization that dense layers alone read");
  PARE_ASSIGN_OR_RETURN(const DrawnImages images, draw_images(context));
  PARE_ASSIGN_OR_RETURN(const ChannelMaxima maxima,
                        channel_maxima(graph, norms, *images.calibration, context));
  Graph result = graph;
  for (const SmoothedNorm& norm : norms) {
    const std::vector<float> factors =
        smoothing_factors(norm, maxima.at(norm.output), step.number("alpha"), result);
    smooth_norm(norm, factors, result);
    const auto [least, most] = std::minmax_element(factors.begin(), factors.end());
    context.report->layers.push_back({{"layer", graph.nodes[static_cast<size_t>(norm.node)].name},
                                      {"readers", norm.readers.size()},
                                      {"least_factor", *least},
                                      {"largest_factor", *most}});
  }
  context.train_from_here();  // the weights before pruning have the ranges as they were
  context.report->summary =
      fmt::format("{} layer norms smoothed (alpha {})", norms.size(), step.number("alpha"));
  return result;
}

}  // namespace

Method make_smooth_method() {
  Method method;
  method.name = "smooth";
  method.summary = "moves outliers behind layer norms into the weights; the answers stay";
  method.source =
      "Xiao et al. 2023, 'SmoothQuant: Accurate and Efficient Post-Training Quantization for Large "
      "Language Models', section 4";
  method.stage = Stage::kFloat;
  method.argument = "alpha";
  method.options = {{"alpha",
                     OptionSpec::Kind::kNumber,
                     "0.5",
                     0,
                     1,
                     {},
                     "share of an outlier that goes into the weights"}};
  method.needs_images = [](const RecipeStep&) { return true; };
  method.apply = apply_smooth;
  return method;
}

}  // namespace pare
