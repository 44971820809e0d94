// int8 and int4: static quantisation of activations to 8 bits and of weights to 8 or 4.
//
// Convolutions and products with constant weights compute in integers: weights of 8 or 4 bits,
// symmetric, one scale a channel or a group of inputs (compress/quantise_weights.h); activations
// uint8, one scale a tensor, ranges measured on calibration images (compress/quantise.h has the
// rules, compress/qdq.h the form). int4 is int8 with other defaults. Residual additions, norms,
// softmax, GELU and products of two activations stay float32: together they cost a few per cent of
// the time, and quantising them is what makes ViTs collapse. The model's outputs stay float32.
//
// With weights of 8 bits the image's normalisation is folded into the first layer where that is
// exact: it then reads the image's own bytes (scale 1, zero point 0). Elsewhere (padding, 4 bits)
// the normalised image is quantised over the whole range that images have.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/thread_pool.h"
#include "compress/calibrate.h"
#include "compress/gptq.h"
#include "compress/gram.h"
#include "compress/layer_outputs.h"
#include "compress/layer_sensitivity.h"
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
// Below this ratio of signal to noise a layer's outputs are a warning. Measured
// (docs/results/quantisation.md): in int8, which loses nothing, no layer of alexnet is below 21 dB
// and none of vit-seed below 28; where 4 bits cost alexnet 20 points all are at 3 to 8, and where
// they cost vit-seed 1.5, a fifth of its layers is at 8 to 10.
constexpr double kPoorOutputDb = 10;

Result<std::vector<WeightLayer>> layers_to_quantise(const Graph& graph, const RecipeStep& step) {
  std::vector<WeightLayer> layers = find_weight_layers(graph);
  PARE_RETURN_IF_ERROR(check_layer_names(layers, step.names("skip"), step.method + ", skip"));
  std::erase_if(layers, [&](const WeightLayer& layer) {
    const Node& node = graph.nodes[static_cast<size_t>(layer.node)];
    const bool other_bias = layer.op != "MatMul" && node.has_input(2) && layer.bias.empty();
    return is_named(layer, step.names("skip")) || other_bias ||
           node.int_attribute("transA", 0) != 0 || graph.find_initializer(layer.input) != nullptr;
  });
  if (layers.empty())
    return invalid_argument(
        fmt::format("{}: the model has no float32 layer (Conv, Gemm or MatMul with constant "
                    "weights) left to quantise",
                    step.method));
  return layers;
}

std::vector<std::string> weights_of(const std::vector<WeightLayer>& layers) {
  std::vector<std::string> weights;
  for (const WeightLayer& layer : layers)
    if (std::ranges::find(weights, layer.weight) == weights.end()) weights.push_back(layer.weight);
  return weights;
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

// Bits of each layer for weights=auto: from 8 everywhere, the layers that lose least a weight when
// they alone have 4 bits go to 4, until the mean over all weights is what `bits` allows.
Result<std::vector<int>> bits_by_sensitivity(const Graph& original,
                                             const std::vector<WeightLayer>& layers,
                                             const RecipeStep& step,
                                             const CompressContext& context) {
  RecipeStep four = step;
  four.options["weights"] = std::string("4");
  // Which layers lose most is the same, sooner.
  four.options["rounding"] = std::string("nearest");
  four.options["bias"] = std::string("rounded");
  PARE_ASSIGN_OR_RETURN(const LayerSensitivities sensitivities,
                        measure_layer_sensitivities(original, four, context));
  std::vector<size_t> order(layers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto loss = [&](size_t i) {
    return sensitivities.layers[i].divergence / static_cast<double>(layers[i].size);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return loss(a) < loss(b); });
  std::vector<int> bits(layers.size(), 8);
  double weights = 0;
  for (const WeightLayer& layer : layers) weights += static_cast<double>(layer.size);
  double total = 8 * weights;
  for (const size_t i : order) {
    if (total <= step.number("bits") * weights) break;
    bits[i] = 4;
    total -= 4 * static_cast<double>(layers[i].size);
  }
  return bits;
}

Result<std::vector<WeightRule>> weight_rules(const Graph& original,
                                             const std::vector<WeightLayer>& layers,
                                             const RecipeStep& step,
                                             const CompressContext& context) {
  const std::string& weights = step.word("weights");
  std::vector<int> bits(layers.size(), weights == "4" ? 4 : 8);
  if (weights == "auto") {
    PARE_ASSIGN_OR_RETURN(bits, bits_by_sensitivity(original, layers, step, context));
  }
  std::vector<WeightRule> rules(layers.size());
  for (size_t i = 0; i < rules.size(); ++i) {
    rules[i].format.bits = bits[i];
    if (bits[i] == 4 && step.word("group") != "none")
      rules[i].format.group = std::stoll(step.word("group"));
    if (step.word("weight_range") == "mse") rules[i].format.range = WeightRange::kMse;
  }
  return rules;
}

struct Scales {
  std::map<std::string, ActivationScale> by_root;
  std::map<std::string, Histogram> histograms;
  std::map<std::string, Range> ranges;
};

Result<Scales> measure_scales(const Graph& graph, const QdqPlan& plan, const RecipeStep& step,
                              const Dataset& images, CompressContext& context) {
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
  context.say(fmt::format("calibrating {} tensors on {}", measured.size(), images.description()));
  const bool average = step.word("range") == "average";
  std::map<std::string, MovingRange> moving;
  PARE_ASSIGN_OR_RETURN(scales.histograms, collect_histograms(graph, images, measured, context,
                                                              average ? &moving : nullptr));
  const RangeRule rule = range_rule_from_word(step.word("range"));
  for (const std::string& root : measured) {
    const Histogram& histogram = scales.histograms.at(root);
    const bool image = plan.scaled_images.contains(root);
    const Range range =
        average && !image
            ? moving.at(root).range()
            : choose_range(histogram, image ? RangeRule::kMinMax : rule, step.number("percentile"));
    scales.ranges[root] = range;
    scales.by_root[root] = activation_scale(range);
    if (histogram.min() == 0 && histogram.max() == 0)
      context.report->warnings.push_back(fmt::format(
          "'{}' is zero on every calibration image: the layers that read it see a constant", root));
  }
  if (images.size() < kFewImages)
    context.report->warnings.push_back(
        fmt::format("the ranges rest on {} calibration image{}: values that others reach are cut "
                    "off; use a few hundred",
                    images.size(), images.size() == 1 ? "" : "s"));
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

// What is worth trying where rounding to these formats loses too much.
std::string better_method(const RecipeStep& step, int bits) {
  if (bits == 4) {
    if (step.word("rounding") == "nearest") return "rounding=gptq";
    if (step.word("group") == "none") return "group=64, or weights=8";
    return "weights=8";
  }
  return step.word("range") == "minmax" ? "range=percentile" : "";
}

// What a layer got, and what its outputs lost.
struct LayerFacts {
  const WeightLayer& layer;
  const LayerScales& written;
  int bits = 8;
  double output_snr_db = 0;
  double bias_shift = 0;
};

void warn_about(const LayerFacts& facts, const RecipeStep& step, RecipeStepReport& report) {
  const std::string& name = facts.layer.name;
  const bool all_zero = facts.written.zero_channels == facts.layer.channels;
  if (all_zero) {
    report.warnings.push_back(
        fmt::format("all weights of layer '{}' are zero: its output is its bias", name));
  } else if (facts.bits == 8 && facts.written.weight_snr_db < kPoorSnrDb) {
    report.warnings.push_back(fmt::format(
        "8 bits hold the weights of layer '{}' badly (signal to noise {:.0f} dB): skip={} keeps it "
        "in float32",
        name, facts.written.weight_snr_db, name));
  } else if (facts.output_snr_db < kPoorOutputDb) {
    const std::string better = better_method(step, facts.bits);
    report.warnings.push_back(
        fmt::format("the outputs of layer '{}' are {:.1f} dB above what quantisation adds to them "
                    "(below {:.0f} a model loses accuracy): {}{}skip={} keeps it in float32",
                    name, facts.output_snr_db, kPoorOutputDb, better,
                    better.empty() ? "" : " is better; ", name));
  }
}

void report_layer(const LayerFacts& facts, const std::string& root, const Scales& scales,
                  RecipeStepReport& report) {
  const Range& range = scales.ranges.at(root);
  const auto histogram = scales.histograms.find(root);
  report.layers.push_back(
      {{"layer", facts.layer.name},
       {"operation", facts.layer.op},
       {"weights", facts.layer.size},
       {"weight_bits", facts.bits},
       {"input", root},
       {"input_low", range.low},
       {"input_high", range.high},
       {"input_scale", facts.written.input.scale},
       {"input_zero_point", facts.written.input.zero_point},
       {"input_clipped",
        histogram == scales.histograms.end() ? 0.0 : clipped_share(histogram->second, range)},
       {"weight_snr_db", facts.written.weight_snr_db},
       {"output_snr_db", facts.output_snr_db},
       {"bias_shift", facts.bias_shift},
       {"zero_channels", facts.written.zero_channels}});
}

std::string summary_of(const RecipeStep& step, const std::vector<WeightLayer>& layers,
                       const std::vector<WeightRule>& rules, size_t activations) {
  std::map<int, int64_t> weights;  // by bits
  for (size_t i = 0; i < layers.size(); ++i) weights[rules[i].format.bits] += layers[i].size;
  std::vector<std::string> parts;
  parts.reserve(weights.size());
  for (const auto& [bits, count] : weights)
    parts.push_back(fmt::format("{} weights in int{}", count, bits));
  std::string text = fmt::format("{} layers with {}", layers.size(), fmt::join(parts, " and "));
  if (step.word("group") != "none") text += fmt::format(" by groups of {}", step.word("group"));
  text += fmt::format(", {} activations in uint8 (ranges by {})", activations, step.word("range"));
  if (step.word("rounding") == "gptq") text += ", rounded by GPTQ";
  if (step.word("bias") == "corrected") text += ", biases corrected";
  return text;
}

Status check_int8(const RecipeStep& step) {
  if (step.word("group") == "none" || step.word("weights") != "8") return ok_status();
  return invalid_argument(
      fmt::format("group={} is for weights=4; 8 bits hold a whole channel's", step.word("group")));
}

// Those whose inputs' Gram matrices can be gathered; the others are rounded to nearest, and named.
std::vector<WeightLayer> layers_for_gptq(const Graph& graph, const std::vector<WeightLayer>& layers,
                                         const RecipeStep& step, CompressContext& context) {
  std::vector<WeightLayer> fit;
  if (step.word("rounding") != "gptq") return fit;
  for (const WeightLayer& layer : layers) {
    const Status gram = check_gram(graph, layer);
    if (gram.ok()) {
      fit.push_back(layer);
    } else {
      context.report->warnings.push_back("rounded to nearest: " + gram.message());
    }
  }
  return fit;
}

Result<Graph> apply_int8(const Graph& original, const RecipeStep& step, CompressContext& context) {
  Graph graph = original;
  // Bytes have a large mean, which multiplies what 4 bits lose of a first layer's weights.
  if (step.word("weights") == "8") {
    PARE_ASSIGN_OR_RETURN(graph, fold_normalisation(original));
  }
  PARE_ASSIGN_OR_RETURN(const std::vector<WeightLayer> layers, layers_to_quantise(graph, step));
  PARE_ASSIGN_OR_RETURN(const DrawnImages images, draw_images(context));
  QdqPlan plan = plan_qdq(graph, layers);
  if (step.word("outputs") == "uint8") add_outputs(graph, float_conv_outputs(graph, layers), plan);
  PARE_ASSIGN_OR_RETURN(const Scales scales,
                        measure_scales(graph, plan, step, *images.calibration, context));
  Graph result = graph;
  PARE_ASSIGN_OR_RETURN(std::vector<WeightRule> rules,
                        weight_rules(original, layers, step, context));
  const std::vector<WeightLayer> by_gptq = layers_for_gptq(graph, layers, step, context);
  InputSource inputs(graph, weights_of(by_gptq), images.calibration, context,
                     InputSource::Kind::kGram);
  ThreadPool pool(context.threads > 0 ? context.threads : available_cores());
  for (size_t i = 0; i < layers.size(); ++i)
    if (std::ranges::find(by_gptq, layers[i].node, &WeightLayer::node) != by_gptq.end())
      rules[i].round = gptq_rounding(inputs, pool);
  PARE_ASSIGN_OR_RETURN(const std::vector<LayerScales> written,
                        write_qdq(layers, plan, scales.by_root, rules, result));
  std::vector<double> shifts(layers.size(), 0);
  if (step.word("bias") == "corrected") {
    PARE_ASSIGN_OR_RETURN(
        shifts, correct_biases(graph, layers, written, *images.calibration, context, result));
  }
  PARE_ASSIGN_OR_RETURN(const std::vector<double> snr_db,
                        output_snr_db(graph, result, layers, *images.calibration, context));
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerFacts facts{layers[i], written[i], rules[i].format.bits, snr_db[i], shifts[i]};
    report_layer(facts, plan.roots.at(layers[i].input), scales, *context.report);
    warn_about(facts, step, *context.report);
  }
  context.report->summary = summary_of(step, layers, rules, scales.by_root.size());
  return result;
}

// What differs between the two methods that are made of this file.
struct Defaults {
  const char* weights;
  const char* weight_range;
  const char* rounding;
  const char* bias;
};

std::vector<OptionSpec> options_with(const Defaults& defaults) {
  using Kind = OptionSpec::Kind;
  const auto choice = [](const char* name, const char* fallback, std::vector<std::string> words,
                         const char* help) {
    return OptionSpec{name, Kind::kChoice, fallback, 0, 0, std::move(words), help};
  };
  return {
      choice("range", "percentile", {"minmax", "percentile", "mse", "entropy", "average"},
             "how activation ranges are chosen"),
      {"percentile", Kind::kNumber, "99.99", 50, 100, {}, "for range=percentile"},
      choice("weights", defaults.weights, {"8", "4", "auto"},
             "bits of a weight; auto: 4 in the layers that lose least by it, 8 in the others"),
      {"bits", Kind::kNumber, "5", 4, 8, {}, "for weights=auto: mean bits of a weight, at most"},
      choice("group", "none", {"none", "32", "64", "128"},
             "inputs of a dense layer's channel that share a scale, with weights=4"),
      choice("weight_range", defaults.weight_range, {"minmax", "mse"},
             "how scales of weights are chosen: the largest, or least squared error"),
      choice("rounding", defaults.rounding, {"nearest", "gptq"},
             "how weights are rounded: each by itself, or making up for each other's errors"),
      choice("bias", defaults.bias, {"rounded", "corrected"},
             "whether biases make up for what rounding adds to the mean of a channel"),
      {"skip", Kind::kNames, "", 0, 0, {}, "layers to leave in float32"},
      choice("outputs", "float32", {"float32", "uint8"},
             "type of convolution outputs that float operators read (residual additions)"),
  };
}

Method make_method(const char* name, const char* summary, const char* source,
                   const Defaults& defaults) {
  Method method;
  method.name = name;
  method.summary = summary;
  method.source = source;
  method.stage = Stage::kQuantise;
  method.options = options_with(defaults);
  method.needs_images = [](const RecipeStep&) { return true; };
  method.check = check_int8;
  method.apply = apply_int8;
  return method;
}

}  // namespace

Method make_int8_method() {
  return make_method(
      "int8", "integer arithmetic: int8 weights by channel, uint8 activations by calibration",
      "Jacob et al. 2018, 'Quantization and Training of Neural Networks for Efficient "
      "Integer-Arithmetic-Only Inference'; Frantar et al. 2022, 'GPTQ' (rounding=gptq)",
      {"8", "minmax", "nearest", "rounded"});
}

Method make_int4_method() {
  return make_method(
      "int4", "the same with weights of 4 bits, rounded by GPTQ",
      "Frantar et al. 2022, 'GPTQ'; Nagel et al. 2019, 'Data-Free Quantization Through Weight "
      "Equalization and Bias Correction', section 4.2 (bias=corrected)",
      {"4", "mse", "gptq", "rounded"});
}

}  // namespace pare
