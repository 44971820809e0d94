#include <cmath>

#include "graph/operators.h"
#include "graph/passes.h"
#include "graph/passes/matcher.h"
#include "graph/shapes.h"
#include "graph/window.h"

namespace pare {
namespace {

// y[c] = scale[c] · x[c] + shift[c], c along axis 1.
struct PixelAffine {
  std::vector<double> scale;
  std::vector<double> shift;
};

// One number for all channels or one for each; nullopt for anything else.
std::optional<std::vector<double>> per_channel(const Matcher& match, const std::string& value,
                                               const Shape& image) {
  const auto floats = match.floats(value);
  if (!floats) return std::nullopt;
  const auto channels = static_cast<size_t>(image[1]);
  std::vector<double> out(channels, floats->empty() ? 0.0 : (*floats)[0]);
  if (floats->size() == 1) return out;
  const Shape& shape = match.graph().find_initializer(value)->shape();
  Shape wanted(image.size() - 1, 1);
  wanted[0] = image[1];
  Shape with_batch = wanted;
  with_batch.insert(with_batch.begin(), 1);
  if (shape != wanted && shape != with_batch) return std::nullopt;
  for (size_t c = 0; c < channels; ++c) out[c] = (*floats)[c];
  return out;
}

// Applies one elementwise node to the affine function so far. False when it is not such a node.
bool apply(const Matcher& match, const Node& node, const std::string& value, const Shape& image,
           PixelAffine& affine) {
  if (!node.domain.empty() || node.inputs.size() != 2) return false;
  const bool value_first = node.inputs[0] == value;
  const auto constant = per_channel(match, node.inputs[value_first ? 1 : 0], image);
  if (!constant) return false;
  for (size_t c = 0; c < affine.scale.size(); ++c) {
    const double k = (*constant)[c];
    double& scale = affine.scale[c];
    double& shift = affine.shift[c];
    if (node.op == "Mul") {
      scale *= k;
      shift *= k;
    } else if (node.op == "Div" && value_first) {
      scale /= k;
      shift /= k;
    } else if (node.op == "Add") {
      shift += k;
    } else if (node.op == "Sub") {
      scale = value_first ? scale : -scale;
      shift = value_first ? shift - k : k - shift;
    } else {
      return false;
    }
    if (!std::isfinite(scale) || !std::isfinite(shift)) return false;
  }
  return true;
}

// Follows the elementwise nodes behind `value`; leaves it at what the last of them writes.
bool follow(const Matcher& match, const Shape& image, std::string& value, PixelAffine& affine) {
  bool found = false;
  for (const Node* reader = match.only_reader(value); reader != nullptr;
       reader = match.only_reader(value)) {
    PixelAffine next = affine;
    if (!apply(match, *reader, value, image, next)) break;
    affine = std::move(next);
    value = reader->outputs[0];
    found = true;
  }
  return found;
}

// Whether the layer can take the affine function: constant weights, no padding, and input channels
// in the weights' own order.
bool can_take(const Matcher& match, const Node& layer, const std::string& value,
              const Shape& image) {
  if (!layer.domain.empty() || layer.inputs[0] != value) return false;
  if (layer.inputs.size() < 2 || !match.floats(layer.inputs[1])) return false;
  if (layer.has_input(2) && !match.floats(layer.inputs[2])) return false;
  const Shape& weights = match.graph().find_initializer(layer.inputs[1])->shape();
  if (layer.op == "Conv" && image.size() == 4) {
    const auto window = resolve_window(layer, image, weights[2], weights[3]);
    return window.ok() && !window->has_padding() && layer.int_attribute("group", 1) == 1;
  }
  return layer.op == "Gemm" && image.size() == 2 && layer.int_attribute("transA", 0) == 0 &&
         layer.float_attribute("alpha", 1.0F) == 1.0F &&
         layer.float_attribute("beta", 1.0F) == 1.0F &&
         (!layer.has_input(2) || match.graph().find_initializer(layer.inputs[2])->size() ==
                                     weights[layer.int_attribute("transB", 0) != 0 ? 0 : 1]);
}

// Weights seen as [out, channel, inner]: for a Gemm without transB the first two are swapped.
struct WeightLayout {
  size_t outs;
  size_t channels;
  size_t inner;
  bool swapped;

  size_t index(size_t o, size_t c, size_t i) const {
    return swapped ? c * outs + o : (o * channels + c) * inner + i;
  }
};

WeightLayout layout_of(const Node& layer, const Shape& weights) {
  const bool swapped = layer.op == "Gemm" && layer.int_attribute("transB", 0) == 0;
  const auto dim = [&](size_t d) { return static_cast<size_t>(weights[d]); };
  const size_t inner = weights.size() == 4 ? dim(2) * dim(3) : 1;
  return {dim(swapped ? 1 : 0), dim(swapped ? 0 : 1), inner, swapped};
}

Status fold_into(Graph& graph, const Matcher& match, Node& layer, const PixelAffine& affine,
                 const std::string& image) {
  const Tensor weights = graph.initializers.at(layer.inputs[1]);
  const WeightLayout layout = layout_of(layer, weights.shape());
  std::vector<float> values = to_float_vector(weights);
  std::vector<float> bias(layout.outs, 0.0F);
  if (layer.has_input(2)) bias = *match.floats(layer.inputs[2]);
  for (size_t o = 0; o < layout.outs; ++o) {
    double sum = bias[o];
    for (size_t c = 0; c < layout.channels; ++c) {
      for (size_t i = 0; i < layout.inner; ++i) {
        float& w = values[layout.index(o, c, i)];
        sum += static_cast<double>(w) * affine.shift[c];
        w = static_cast<float>(w * affine.scale[c]);
      }
    }
    bias[o] = static_cast<float>(sum);
  }
  PARE_ASSIGN_OR_RETURN(
      Tensor folded,
      convert_floating(Tensor::from_values<float>(weights.shape(), values), weights.type()));
  PARE_ASSIGN_OR_RETURN(
      Tensor folded_bias,
      convert_floating(Tensor::from_values<float>({static_cast<int64_t>(layout.outs)}, bias),
                       weights.type()));
  layer.inputs.resize(3);
  layer.inputs[0] = image;
  layer.inputs[1] = replace_initializer(graph, match.index(), layer.inputs[1], std::move(folded));
  if (layer.inputs[2].empty()) {
    layer.inputs[2] = graph.fresh_name(layer.name + ".bias");
    graph.initializers[layer.inputs[2]] = std::move(folded_bias);
  } else {
    layer.inputs[2] =
        replace_initializer(graph, match.index(), layer.inputs[2], std::move(folded_bias));
  }
  return ok_status();
}

}  // namespace

Result<Graph> fold_normalisation(Graph graph) {
  PARE_ASSIGN_OR_RETURN(const Inference inference, infer_concrete(graph, kFirstBatch));
  for (const ValueInfo& input : graph.inputs) {
    const Matcher match(graph);
    std::string image = input.name;
    const Node* cast = match.only_reader(image);
    if (cast != nullptr && cast->domain.empty() && cast->op == "Cast") image = cast->outputs[0];
    const ValueInfo& info = inference.infos.at(image);
    if (!is_floating(info.type) || info.shape.size() < 2) continue;
    const auto channels = static_cast<size_t>(info.shape[1]);
    PixelAffine affine{std::vector<double>(channels, 1.0), std::vector<double>(channels, 0.0)};
    std::string value = image;
    if (!follow(match, info.shape, value, affine)) continue;
    const Node* reader = match.only_reader(value);
    if (reader == nullptr || !can_take(match, *reader, value, info.shape)) continue;
    Node& layer = graph.nodes[static_cast<size_t>(match.index().consumers(value)[0])];
    PARE_RETURN_IF_ERROR(fold_into(graph, match, layer, affine, image));
  }
  remove_unused(graph);
  return graph;
}

}  // namespace pare
