// share: weight sharing. The weights of a layer that are not zero become at most 2^bits values, the
// centres of a k-means (Han, Mao and Dally 2016, "Deep Compression", section 3).
//
// They stay float tensors of any engine's. A .pare file stores the values once and each weight's
// index (graph/pare_palette.h), entropy-coded: behind `prune`, zeros take the least. With
// importance=inputs a weight counts by the mean square of what it is multiplied by, the diagonal of
// the output error's second derivatives (Choi, El-Khamy and Lee 2017, "Towards the Limit of Network
// Quantization", section 3.3). Zeros stay zero and take one of the 2^bits.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>

#include "compress/calibrate.h"
#include "compress/clusters.h"
#include "compress/gram.h"
#include "compress/layers.h"
#include "compress/method.h"
#include "compress/prune.h"
#include "compress/quantise.h"
#include "compress/scope.h"
#include "compress/weight_matrix.h"

namespace pare {
namespace {

// Inputs that the calibration images never showed count this share of the mean, as GPTQ's damping.
constexpr double kDamping = 0.01;
// The best 2^bits values of a normal distribution are 4.4, 9.3, 14.6, 20.2 and 26 dB above their
// error (Max 1960, "Quantizing for Minimum Distortion", table I): this warns up to two bits.
constexpr double kPoorSharedDb = 10;

// One for each of the weight's elements.
std::vector<double> importance_of(const Graph& graph, const WeightLayer& layer,
                                  const InputStatistics& seen) {
  const WeightMatrix shape = weight_matrix(graph, layer);
  const double mean = std::accumulate(seen.squares.begin(), seen.squares.end(), 0.0) /
                      static_cast<double>(seen.squares.size());
  std::vector<double> importance(static_cast<size_t>(layer.size));
  for (int64_t o = 0; o < shape.outputs; ++o)
    for (int64_t c = 0; c < shape.k; ++c) {
      const int64_t input = o / shape.outputs_of_group() * shape.k + c;
      importance[static_cast<size_t>(offset_of(shape, o, c))] =
          seen.squares[static_cast<size_t>(input)] + kDamping * mean;
    }
  return importance;
}

struct Shared {
  Tensor weight;
  Tensor index;  // CompressContext::shared's
  int64_t values = 0;
  double snr_db = 0;
};

// `importance` has a number for each element, or none.
Shared share_weight(const Tensor& weight, std::span<const double> importance, int bits) {
  const auto w = weight.values<float>();
  std::vector<float> kept;
  std::vector<double> kept_importance;
  kept.reserve(w.size());
  kept_importance.reserve(importance.size());
  for (size_t i = 0; i < w.size(); ++i) {
    if (w[i] == 0) continue;
    kept.push_back(w[i]);
    if (!importance.empty()) kept_importance.push_back(importance[i]);
  }
  // Index 0 is zero's, so a byte has room for 255 others.
  const bool has_zeros = kept.size() < w.size();
  const int count = std::min((1 << bits) - (has_zeros ? 1 : 0), 255);
  const Clusters clusters = find_clusters(kept, kept_importance, count);
  Shared result;
  result.weight = Tensor(DType::kFloat32, weight.shape());
  result.index = Tensor(DType::kUInt8, weight.shape());
  result.values = static_cast<int64_t>(clusters.centres.size());
  const auto out = result.weight.mutable_values<float>();
  const auto index = result.index.mutable_values<uint8_t>();
  double signal = 0;
  double noise = 0;
  size_t next = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    if (w[i] == 0) continue;
    const uint8_t cluster = clusters.of[next++];
    out[i] = clusters.centres[cluster];
    index[i] = static_cast<uint8_t>(cluster + 1);
    const double error = static_cast<double>(w[i]) - static_cast<double>(out[i]);
    signal += static_cast<double>(w[i]) * static_cast<double>(w[i]);
    noise += error * error;
  }
  result.snr_db = signal_to_noise_db(signal, noise);
  return result;
}

Result<Graph> apply_share(const Graph& graph, const RecipeStep& step, CompressContext& context) {
  PARE_ASSIGN_OR_RETURN(
      const std::vector<WeightLayer> layers,
      layers_in_scope(graph, "share", "all", step.names("only"), step.names("skip")));
  const auto bits = static_cast<int>(step.number("bits"));
  std::optional<InputSource> inputs;
  if (step.word("importance") == "inputs") {
    PARE_ASSIGN_OR_RETURN(const DrawnImages images, draw_images(context));
    std::vector<std::string> names;
    names.reserve(layers.size());
    for (const WeightLayer& layer : layers) names.push_back(layer.weight);
    inputs.emplace(graph, std::move(names), images.calibration, context,
                   InputSource::Kind::kSquares);
  }
  Graph result = graph;
  int64_t weights = 0;
  double worst_db = HUGE_VAL;
  for (const WeightLayer& layer : layers) {
    const Tensor& weight = *graph.find_initializer(layer.weight);
    if (bits == 1 && count_zeros(weight) > 0)
      return invalid_argument(
          fmt::format("share:1 leaves layer '{}' one value beside zero, whatever the sign: use 2 "
                      "bits, or skip={}",
                      layer.name, layer.name));
    std::vector<double> importance;
    if (inputs) {
      PARE_ASSIGN_OR_RETURN(const InputStatistics* seen, inputs->at(layer.weight));
      importance = importance_of(graph, layer, *seen);
    }
    Shared shared = share_weight(weight, importance, bits);
    context.report->layers.push_back({{"layer", layer.name},
                                      {"weights", layer.size},
                                      {"values", shared.values},
                                      {"signal_to_noise_db", shared.snr_db}});
    worst_db = std::min(worst_db, shared.snr_db);
    if (shared.snr_db < kPoorSharedDb)
      context.report->warnings.push_back(
          fmt::format("{} values hold the weights of layer '{}' badly (signal to noise {:.0f} dB): "
                      "share:{} is better",
                      shared.values, layer.name, shared.snr_db, bits + 1));
    weights += layer.size;
    result.initializers[layer.weight] = std::move(shared.weight);
    context.shared[layer.weight] = std::move(shared.index);
  }
  context.train_from_here();
  context.report->summary =
      fmt::format("{} weights share at most {} values a layer, {:.1f} dB signal to noise at least",
                  weights, 1 << bits, worst_db);
  return result;
}

}  // namespace

Method make_share_method() {
  using Kind = OptionSpec::Kind;
  Method method;
  method.name = "share";
  method.summary =
      "weights of a layer share 2^BITS values, kept as floats: the smallest .pare file";
  method.source = "Han, Mao and Dally 2016, 'Deep Compression', section 3";
  method.stage = Stage::kFloat;
  method.argument = "bits";
  method.options = {
      {"bits",
       Kind::kInteger,
       "5",
       1,
       8,
       {},
       "2^bits values a layer, zero among them if it has any"},
      {"importance",
       Kind::kChoice,
       "none",
       0,
       0,
       {"none", "inputs"},
       "what a weight counts: all alike, or by the squares of its inputs on training images"},
      {"only", Kind::kNames, "", 0, 0, {}, "layers whose weights are shared; empty: all"},
      {"skip", Kind::kNames, "", 0, 0, {}, "layers to leave as they are"}};
  method.keeps_shared = true;
  method.decides_speed = false;
  method.needs_images = [](const RecipeStep& step) { return step.word("importance") == "inputs"; };
  method.apply = apply_share;
  return method;
}

}  // namespace pare
