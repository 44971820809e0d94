// round: weights rounded to 8 bits a channel and kept as floats.
//
//   w' = scale[channel] · rint(w / scale[channel]),  scale = max|w| / 127
//
// Nothing changes for an engine: the file holds the same float tensors, a little coarser. But a
// .pare file stores such a tensor as the whole numbers and the scales (graph/pare_scaled.h), about
// a byte a weight before entropy coding, where float32 takes four. It is how the zoo's models are
// kept, and a model that was rounded can still be trained, pruned or quantised like any other.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "compress/layers.h"
#include "compress/method.h"
#include "compress/quantise_weights.h"
#include "graph/pare_scaled.h"

namespace pare {
namespace {

Result<Graph> apply_round(const Graph& graph, const RecipeStep& step, CompressContext& context) {
  const std::vector<WeightLayer> layers = find_weight_layers(graph);
  const std::vector<std::string>& skip = step.names("skip");
  PARE_RETURN_IF_ERROR(check_layer_names(layers, skip, "round, skip"));
  Graph result = graph;
  std::set<std::string> seen;
  int64_t weights = 0;
  double worst_db = HUGE_VAL;
  for (const WeightLayer& layer : layers) {
    if (is_named(layer, skip) || !seen.insert(layer.weight).second) continue;
    const Tensor& weight = *graph.find_initializer(layer.weight);
    nlohmann::ordered_json facts = {{"layer", layer.name}, {"weights", layer.size}};
    // What was rounded before stays to the bit: a second scale would be one step of float32 off.
    if (!find_scaled(weight)) {
      const QuantisedWeights q = quantise_weights(weight, layer.channel_axis);
      const double db = rounding_snr_db(weight, q, layer.channel_axis);
      facts["signal_to_noise_db"] = db;
      worst_db = std::min(worst_db, db);
      result.initializers[layer.weight] = dequantised(q, layer.channel_axis);
    }
    context.report->layers.push_back(std::move(facts));
    weights += layer.size;
  }
  if (weights == 0)
    return invalid_argument(
        "round: the model has no float32 weights of Conv, Gemm or MatMul to round");
  context.train_from_here();
  context.report->summary =
      std::isfinite(worst_db)
          ? fmt::format(
                "{} weights rounded to 8 bits a channel, {:.1f} dB signal to noise at least",
                weights, worst_db)
          : fmt::format("{} weights were rounded to 8 bits a channel already", weights);
  return result;
}

}  // namespace

Method make_round_method() {
  Method method;
  method.name = "round";
  method.summary =
      "rounds weights to 8 bits a channel, kept as floats: a quarter of the .pare file";
  method.stage = Stage::kFloat;
  method.options = {
      {"skip", OptionSpec::Kind::kNames, "", 0, 0, {}, "layers to leave as they are"}};
  method.apply = apply_round;
  return method;
}

}  // namespace pare
