// int8: static quantisation of weights and activations to 8 bits.
//
// Convolutions and products with constant weights compute in integers: weights int8, symmetric, one
// scale a channel;
// activations uint8, one scale a tensor, ranges measured on calibration images (compress/quantise.h
// has the rules, compress/qdq.h the form). Residual additions, norms, softmax, GELU and products of
// two activations stay float32: together they cost a few per cent of the time, and quantising them
// is what makes ViTs collapse. The model's outputs stay float32.
//
// The image's normalisation is folded into the first layer where that is exact: it then reads the
// image's own bytes (scale 1, zero point 0). Where it is not (padding), the normalised image is
// quantised over the whole range that images have.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "compress/calibrate.h"
#include "compress/layers.h"
#include "compress/method.h"
#include "compress/qdq.h"
#include "compress/quantise.h"
#include "graph/passes.h"

namespace pare {
namespace {

// Fewer images than this and a range is what those few happened to reach.
constexpr int64_t kFewImages = 32;
// Below this ratio of signal to noise a layer's rounded weights are a warning: integers up to 127
// normally give 33 to 45 dB, up to 64 six less.
constexpr double kPoorSnrDb = 20;

Result<std::vector<WeightLayer>> layers_to_quantise(const Graph& graph, const RecipeStep& step) {
  std::vector<WeightLayer> layers = find_weight_layers(graph);
  PARE_RETURN_IF_ERROR(check_layer_names(layers, step.names("skip"), "int8, skip"));
  std::erase_if(layers, [&](const WeightLayer& layer) {
    const Node& node = graph.nodes[static_cast<size_t>(layer.node)];
    const bool other_bias = layer.op != "MatMul" && node.has_input(2) && layer.bias.empty();
    return is_named(layer, step.names("skip")) || other_bias ||
           node.int_attribute("transA", 0) != 0 || graph.find_initializer(layer.input) != nullptr;
  });
  if (layers.empty())
    return invalid_argument(
        "int8: the model has no float32 layer (Conv, Gemm or MatMul with "
        "constant weights) left to quantise");
  return layers;
}

// Outputs of convolutions (behind their activation) that float operators read.
std::vector<std::string> float_conv_outputs(const Graph& graph,
                                            const std::vector<WeightLayer>& layers) {
  const GraphIndex index(graph);
  std::vector<std::string> values;
  for (const WeightLayer& layer : layers) {
    if (layer.op != "Conv") continue;
    std::string value = graph.nodes[static_cast<size_t>(layer.node)].outputs[0];
    const auto& readers = index.consumers(value);
    if (readers.size() == 1) {
      const Node& reader = graph.nodes[static_cast<size_t>(readers[0])];
      if (reader.op == "Relu" || reader.op == "Clip") value = reader.outputs[0];
    }
    values.push_back(value);
  }
  return values;
}

struct Scales {
  std::map<std::string, ActivationScale> by_root;
  std::map<std::string, Histogram> histograms;
  std::map<std::string, Range> ranges;
};

Result<Scales> measure_scales(const Graph& graph, const QdqPlan& plan, const RecipeStep& step,
                              CompressContext& context) {
  PARE_ASSIGN_OR_RETURN(const DrawnImages images, draw_images(context));
  std::vector<std::string> measured;
  Scales scales;
  for (const auto& [value, root] : plan.roots) {
    if (plan.exact_images.contains(root)) {
      scales.by_root[root] = {1.0F, 0};
      scales.ranges[root] = {0, 255};
    } else if (std::find(measured.begin(), measured.end(), root) == measured.end()) {
      measured.push_back(root);
    }
  }
  context.say(fmt::format("calibrating {} tensors on {}", measured.size(),
                          images.calibration->description()));
  PARE_ASSIGN_OR_RETURN(scales.histograms,
                        collect_histograms(graph, *images.calibration, measured, context));
  const RangeRule rule = range_rule_from_word(step.word("range"));
  for (const std::string& root : measured) {
    const Histogram& histogram = scales.histograms.at(root);
    const RangeRule own = plan.scaled_images.contains(root) ? RangeRule::kMinMax : rule;
    const Range range = choose_range(histogram, own, step.number("percentile"));
    scales.ranges[root] = range;
    scales.by_root[root] = activation_scale(range);
    if (histogram.min() == 0 && histogram.max() == 0)
      context.report->warnings.push_back(fmt::format(
          "'{}' is zero on every calibration image: the layers that read it see a constant", root));
  }
  if (images.calibration->size() < kFewImages)
    context.report->warnings.push_back(
        fmt::format("the ranges rest on {} calibration image{}: values that others reach are cut "
                    "off; use a few hundred",
                    images.calibration->size(), images.calibration->size() == 1 ? "" : "s"));
  return scales;
}

// Share of the values that lie outside the range.
double clipped_share(const Histogram& histogram, const Range& range) {
  int64_t outside = 0;
  const double width = histogram.bin_width();
  for (int k = histogram.first(); k < histogram.last(); ++k)
    if ((k + 1) * width < range.low || k * width > range.high) outside += histogram.bin(k);
  return histogram.count() > 0
             ? static_cast<double>(outside) / static_cast<double>(histogram.count())
             : 0;
}

void report_layer(const WeightLayer& layer, const LayerScales& written, const std::string& root,
                  const Scales& scales, RecipeStepReport& report) {
  const Range& range = scales.ranges.at(root);
  const auto histogram = scales.histograms.find(root);
  report.layers.push_back(
      {{"layer", layer.name},
       {"operation", layer.op},
       {"weights", layer.size},
       {"input", root},
       {"input_low", range.low},
       {"input_high", range.high},
       {"input_scale", written.input.scale},
       {"input_zero_point", written.input.zero_point},
       {"input_clipped",
        histogram == scales.histograms.end() ? 0.0 : clipped_share(histogram->second, range)},
       {"weight_snr_db", written.weight_snr_db},
       {"zero_channels", written.zero_channels}});
  if (written.zero_channels == layer.channels) {
    report.warnings.push_back(
        fmt::format("all weights of layer '{}' are zero: its output is its bias", layer.name));
  } else if (written.weight_snr_db < kPoorSnrDb) {
    report.warnings.push_back(fmt::format(
        "8 bits hold the weights of layer '{}' badly (signal to noise {:.0f} dB): skip={} keeps it "
        "in float32",
        layer.name, written.weight_snr_db, layer.name));
  }
}

Result<Graph> apply_int8(const Graph& original, const RecipeStep& step, CompressContext& context) {
  PARE_ASSIGN_OR_RETURN(const Graph graph, fold_normalisation(original));
  PARE_ASSIGN_OR_RETURN(const std::vector<WeightLayer> layers, layers_to_quantise(graph, step));
  QdqPlan plan = plan_qdq(graph, layers);
  if (step.word("outputs") == "uint8") add_outputs(graph, float_conv_outputs(graph, layers), plan);
  PARE_ASSIGN_OR_RETURN(const Scales scales, measure_scales(graph, plan, step, context));
  Graph result = graph;
  const std::vector<LayerScales> written = write_qdq(layers, plan, scales.by_root, result);
  int64_t weights = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    report_layer(layers[i], written[i], plan.roots.at(layers[i].input), scales, *context.report);
    weights += layers[i].size;
  }
  context.report->summary =
      fmt::format("{} layers with {} weights in int8, {} activations in uint8 (ranges by {})",
                  layers.size(), weights, scales.by_root.size(), step.word("range"));
  return result;
}

}  // namespace

Method make_int8_method() {
  using Kind = OptionSpec::Kind;
  Method method;
  method.name = "int8";
  method.summary = "integer arithmetic: int8 weights by channel, uint8 activations by calibration";
  method.source =
      "Jacob et al. 2018, 'Quantization and Training of Neural Networks for Efficient "
      "Integer-Arithmetic-Only Inference'";
  method.stage = Stage::kQuantise;
  method.options = {
      {"range",
       Kind::kChoice,
       "percentile",
       0,
       0,
       {"minmax", "percentile", "mse", "entropy"},
       "how activation ranges are chosen"},
      {"percentile", Kind::kNumber, "99.99", 50, 100, {}, "for range=percentile"},
      {"skip", Kind::kNames, "", 0, 0, {}, "layers to leave in float32"},
      {"outputs",
       Kind::kChoice,
       "float32",
       0,
       0,
       {"float32", "uint8"},
       "type of convolution outputs that float operators read (residual additions)"},
  };
  method.needs_images = [](const RecipeStep&) { return true; };
  method.apply = apply_int8;
  return method;
}

}  // namespace pare
