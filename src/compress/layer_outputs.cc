#include "compress/layer_outputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <utility>

#include "compress/calibrate.h"

namespace pare {
namespace {

// Channels lie along the second axis behind a convolution, along the last behind a dense layer.
size_t output_axis(const WeightLayer& layer, const Tensor& output) {
  return layer.op == "Conv" ? 1 : static_cast<size_t>(output.rank() - 1);
}

// Mean output of each channel over images (and positions), for several layers in one pass.
using Means = std::map<std::string, std::vector<double>>;
Result<Means> channel_means(const Graph& graph, const std::map<std::string, WeightLayer>& layers,
                            const Dataset& images, const CompressContext& context) {
  Means means;
  std::map<std::string, int64_t> counts;
  ForwardOptions options;
  options.batch_size = context.batch_size;
  options.threads = context.threads;
  for (const auto& [value, layer] : layers) options.keep.push_back(value);
  options.show = [&](const std::string& name, const Tensor& value) {
    const size_t axis = output_axis(layers.at(name), value);
    const int64_t channels = value.dim(static_cast<int>(axis));
    std::vector<double>& sums = means[name];
    sums.resize(static_cast<size_t>(channels), 0.0);
    const auto values = value.values<float>();
    for_each_weight(value, static_cast<int>(axis), [&](int64_t channel, int64_t i) {
      sums[static_cast<size_t>(channel)] += values[static_cast<size_t>(i)];
    });
    counts[name] += channels == 0 ? 0 : value.size() / channels;
    return ok_status();
  };
  PARE_RETURN_IF_ERROR(forward(graph, images, options).status());
  for (auto& [name, sums] : means)
    for (double& sum : sums) sum /= static_cast<double>(std::max<int64_t>(counts[name], 1));
  return means;
}

// The images 0 … count-1 of a set that outlives the result.
std::shared_ptr<const Dataset> first_images(const Dataset& images, int64_t count) {
  std::vector<int64_t> indices(static_cast<size_t>(std::min(count, images.size())));
  std::iota(indices.begin(), indices.end(), 0);
  const std::shared_ptr<const Dataset> unowned(std::shared_ptr<const Dataset>(), &images);
  return subset(unowned, std::move(indices), images.description());
}

// Adds the corrections, in units of the bias's scales; returns the largest.
double shift_bias(const std::vector<double>& shift, const LayerScales& layer, Tensor& bias) {
  auto integers = bias.mutable_values<int32_t>();
  double largest = 0;
  for (size_t c = 0; c < integers.size(); ++c) {
    largest = std::max(largest, std::fabs(shift[c]));
    const double corrected =
        integers[c] + std::nearbyint(shift[c] / static_cast<double>(layer.bias_scales[c]));
    integers[c] = static_cast<int32_t>(std::clamp(corrected, -static_cast<double>(kLargestBias),
                                                  static_cast<double>(kLargestBias)));
  }
  return largest;
}

}  // namespace

const std::string& layer_output(const Graph& graph, const WeightLayer& layer) {
  const int node = layer.bias_node >= 0 ? layer.bias_node : layer.node;
  return graph.nodes[static_cast<size_t>(node)].outputs[0];
}

Result<std::vector<double>> output_snr_db(const Graph& graph, const Graph& quantised,
                                          const std::vector<WeightLayer>& layers,
                                          const Dataset& images, const CompressContext& context) {
  const auto few = first_images(images, kOutputImages);
  ForwardOptions options;
  options.threads = context.threads;
  options.batch_size = kOutputImages;
  for (const WeightLayer& layer : layers) options.keep.push_back(layer_output(graph, layer));
  std::map<std::string, std::vector<float>> wanted;
  options.show = [&wanted](const std::string& name, const Tensor& value) {
    wanted[name] = to_float_vector(value);
    return ok_status();
  };
  PARE_RETURN_IF_ERROR(forward(graph, *few, options).status());

  std::map<std::string, double> snr_db;
  options.show = [&](const std::string& name, const Tensor& value) -> Status {
    const std::vector<float>& want = wanted.at(name);
    const std::vector<float> got = to_float_vector(value);
    if (got.size() != want.size())
      return internal_error(fmt::format("value '{}' has {} elements, and {} once quantised", name,
                                        want.size(), got.size()));
    double signal = 0;
    double noise = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      const double error = static_cast<double>(want[i]) - got[i];
      signal += static_cast<double>(want[i]) * want[i];
      noise += error * error;
    }
    snr_db[name] = signal_to_noise_db(signal, noise);
    return ok_status();
  };
  PARE_RETURN_IF_ERROR(forward(quantised, *few, options).status());
  std::vector<double> result;
  result.reserve(layers.size());
  for (const WeightLayer& layer : layers) result.push_back(snr_db.at(layer_output(graph, layer)));
  return result;
}

Result<std::vector<double>> correct_biases(const Graph& graph,
                                           const std::vector<WeightLayer>& layers,
                                           const std::vector<LayerScales>& written,
                                           const Dataset& images, const CompressContext& context,
                                           Graph& quantised) {
  std::map<std::string, WeightLayer> by_output;
  for (const WeightLayer& layer : layers) by_output[layer_output(graph, layer)] = layer;
  PARE_ASSIGN_OR_RETURN(const Means wanted, channel_means(graph, by_output, images, context));
  std::vector<double> largest;
  for (size_t i = 0; i < layers.size(); ++i) {
    largest.push_back(0);
    if (written[i].bias.empty()) continue;
    const std::string& value = layer_output(graph, layers[i]);
    PARE_ASSIGN_OR_RETURN(const Means got,
                          channel_means(quantised, {{value, layers[i]}}, images, context));
    std::vector<double> shift = wanted.at(value);
    for (size_t c = 0; c < shift.size(); ++c) shift[c] -= got.at(value)[c];
    largest.back() = shift_bias(shift, written[i], quantised.initializers.at(written[i].bias));
    context.say(fmt::format("bias correction {}/{}: {}", i + 1, layers.size(), layers[i].name));
  }
  return largest;
}

}  // namespace pare
