#include "train/finish.h"

#include <fmt/format.h>

#include <cmath>
#include <span>

#include "base/file.h"
#include "train/head.h"

namespace pare {
namespace {

void set_dropout(Graph& graph, double ratio) {
  for (const Node& node : graph.nodes) {
    if (node.op == "Dropout" && node.has_input(1)) {
      graph.initializers[node.inputs[1]] = Tensor::scalar<float>(static_cast<float>(ratio));
    }
  }
}

// y = s·(W x + b - m) + t with s = scale / sqrt(variance + epsilon) becomes (s W) x + (s (b - m) +
// t), computed in double and rounded once.
void fold_into(Graph& graph, Node& layer, const Node& norm) {
  const auto values = [&graph](const std::string& name) {
    return to_float_vector(graph.initializers.at(name));
  };
  const std::vector<float> scale = values(norm.inputs[1]);
  const std::vector<float> shift = values(norm.inputs[2]);
  const std::vector<float> mean = values(norm.inputs[3]);
  const std::vector<float> variance = values(norm.inputs[4]);
  const double epsilon = norm.float_attribute("epsilon", 1e-5F);
  Tensor weights = graph.initializers.at(layer.inputs[1]);
  const size_t channels = scale.size();
  const bool has_bias = layer.has_input(2);
  std::vector<float> bias = has_bias ? values(layer.inputs[2]) : std::vector<float>(channels, 0.0F);
  const auto w = weights.mutable_values<float>();
  const size_t per_channel = w.size() / channels;
  for (size_t c = 0; c < channels; ++c) {
    const double s = scale[c] / std::sqrt(variance[c] + epsilon);
    for (size_t i = 0; i < per_channel; ++i) {
      float& x = w[c * per_channel + i];
      x = static_cast<float>(s * x);
    }
    bias[c] = static_cast<float>(s * (static_cast<double>(bias[c]) - mean[c]) + shift[c]);
  }
  graph.initializers[layer.inputs[1]] = weights;
  if (!has_bias) {
    layer.inputs.resize(3);
    layer.inputs[2] = graph.fresh_name(layer.name + ".bias");
  }
  graph.initializers[layer.inputs[2]] =
      Tensor::from_values<float>({static_cast<int64_t>(channels)}, bias);
  layer.outputs[0] = norm.outputs[0];
}

// Whether `norm` follows a layer whose outputs are the rows of its weights and nobody else reads
// them.
bool can_fold(const Graph& graph, const GraphIndex& index, const Node& norm, const Node& layer) {
  const bool rows_are_outputs =
      layer.op == "Conv" ||
      (layer.op == "Gemm" && layer.int_attribute("transB", 0) != 0 &&
       layer.float_attribute("alpha", 1) == 1.0F && layer.float_attribute("beta", 1) == 1.0F);
  return rows_are_outputs && graph.find_initializer(layer.inputs[1]) != nullptr &&
         graph.initializers.at(layer.inputs[1]).type() == DType::kFloat32 &&
         index.consumers(norm.inputs[0]).size() == 1 && !index.is_output(norm.inputs[0]) &&
         index.consumers(layer.inputs[1]).size() == 1;
}

void fold_batch_norms(Graph& graph) {
  const GraphIndex index(graph);
  std::vector<Node> kept;
  std::vector<bool> folded(graph.nodes.size(), false);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& norm = graph.nodes[n];
    if (norm.op != "BatchNormalization") continue;
    const int producer = index.producer(norm.inputs[0]);
    if (producer < 0) continue;
    Node& layer = graph.nodes[static_cast<size_t>(producer)];
    if (!can_fold(graph, index, norm, layer)) continue;
    fold_into(graph, layer, norm);
    folded[n] = true;
  }
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (!folded[n]) kept.push_back(std::move(graph.nodes[n]));
  }
  graph.nodes = std::move(kept);
}

void remove_dropout(Graph& graph) {
  std::map<std::string, std::string> renamed;  // a dropout's output -> its input
  std::vector<Node> kept;
  for (Node& node : graph.nodes) {
    for (std::string& input : node.inputs) {
      if (const auto it = renamed.find(input); it != renamed.end()) input = it->second;
    }
    const bool is_output = !graph.outputs.empty() && node.outputs[0] == graph.outputs[0].name;
    if (node.op == "Dropout" && !is_output) {
      renamed[node.outputs[0]] = node.inputs[0];
    } else {
      kept.push_back(std::move(node));
    }
  }
  graph.nodes = std::move(kept);
}

}  // namespace

Result<Graph> prepare_graph(const TrainRun& run) {
  Graph graph = run.graph;
  if (run.recipe.model.dropout >= 0) set_dropout(graph, run.recipe.model.dropout);
  const std::vector<std::string>& classes = run.data.train->classes();
  if (graph.outputs.empty() || graph.outputs[0].shape.empty()) {
    return invalid_argument(fmt::format("'{}' has no output with a class axis", graph.name));
  }
  if (graph.contract.height == 0 && graph.inputs[0].type != DType::kUInt8) {
    return invalid_argument(
        "it does not say how images become its input: state that with `pare import` (--mean, "
        "--std, "
        "...)");
  }
  if (run.keep_form) {
    if (graph.outputs[0].shape.back() == static_cast<int64_t>(classes.size())) return graph;
    return invalid_argument(fmt::format("the model has {} classes, the data {}",
                                        graph.outputs[0].shape.back(), classes.size()));
  }
  PARE_ASSIGN_OR_RETURN(const std::string note,
                        fit_head(graph, classes, static_cast<uint64_t>(run.recipe.train.seed)));
  if (!note.empty() && run.events.note) run.events.note(note);
  return graph;
}

Result<Graph> finish_graph(const Graph& trained, const TrainRun& run) {
  Graph graph = trained;
  fold_batch_norms(graph);
  remove_dropout(graph);
  remove_unused(graph);
  graph.contract.classes = run.data.train->classes();
  graph.metadata["trained_on"] = run.data.train->description();
  graph.metadata["recipe"] = recipe_toml(run.recipe);
  PARE_RETURN_IF_ERROR(check_graph(graph));
  return graph;
}

std::string weights_hash(const Graph& graph) {
  std::string hashes;
  for (const auto& [name, tensor] : graph.initializers) {
    const std::span<const std::byte> bytes(tensor.data(), static_cast<size_t>(tensor.byte_count()));
    hashes += fmt::format("{} {} {} {}\n", name, dtype_name(tensor.type()),
                          shape_string(tensor.shape()), hash_bytes(bytes));
  }
  return hash_bytes(std::as_bytes(std::span(hashes)));
}

}  // namespace pare
