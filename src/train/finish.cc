#include "train/finish.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "base/file.h"
#include "base/utf8.h"
#include "graph/passes.h"
#include "models/whitening.h"
#include "train/head.h"

namespace pare {
namespace {

// Each gets a number of its own: the one it reads may be a constant of other nodes too.
void set_dropout(Graph& graph, double ratio) {
  for (Node& node : graph.nodes) {
    if (node.op != "Dropout") continue;
    if (node.inputs.size() < 2) node.inputs.resize(2);
    node.inputs[1] = graph.fresh_name(node.name + ".ratio");
    graph.initializers[node.inputs[1]] = Tensor::scalar<float>(static_cast<float>(ratio));
  }
  remove_unused(graph);
}

void remove_dropout(Graph& graph) {
  std::map<std::string, std::string> renamed;  // a dropout's output -> its input
  std::vector<Node> kept;
  for (Node& node : graph.nodes) {
    for (std::string& input : node.inputs) {
      if (const auto it = renamed.find(input); it != renamed.end()) input = it->second;
    }
    const bool is_output =
        std::any_of(graph.outputs.begin(), graph.outputs.end(),
                    [&node](const ValueInfo& output) { return output.name == node.outputs[0]; });
    if (node.op == "Dropout" && !is_output) {
      renamed[node.outputs[0]] = node.inputs[0];
    } else {
      kept.push_back(std::move(node));
    }
  }
  graph.nodes = std::move(kept);
}

// The first convolution from images spread over the whole set, which a folder lists class by class.
Status whiten(Graph& graph, const TrainRun& run) {
  const int64_t wanted = run.recipe.model.whiten_images;
  const Dataset& images = *run.data.train;
  const ImageShape shape = images.image_shape();
  const int64_t count = std::min(wanted, images.size());
  std::vector<uint8_t> pixels(static_cast<size_t>(count * shape.size()));
  for (int64_t i = 0; i < count; ++i) {
    PARE_RETURN_IF_ERROR(images.read_image(
        i * images.size() / count, std::span(pixels).subspan(static_cast<size_t>(i * shape.size()),
                                                             static_cast<size_t>(shape.size()))));
  }
  return whiten_first_convolution(graph, {.pixels = pixels,
                                          .count = count,
                                          .channels = shape.channels,
                                          .height = shape.height,
                                          .width = shape.width});
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
  for (const auto& [name, tensor] : graph.initializers) {
    if (run.folder.empty() || is_utf8(name)) continue;
    return unsupported(fmt::format(
        "weight '{}': its name is not UTF-8 text, and checkpoints hold no other", name));
  }
  if (run.keep_form) {
    if (graph.outputs[0].shape.back() == static_cast<int64_t>(classes.size())) return graph;
    return invalid_argument(fmt::format("the model has {} classes, the data {}",
                                        graph.outputs[0].shape.back(), classes.size()));
  }
  PARE_ASSIGN_OR_RETURN(const std::string note,
                        fit_head(graph, classes, static_cast<uint64_t>(run.recipe.train.seed)));
  if (!note.empty() && run.events.note) run.events.note(note);
  if (run.recipe.model.whiten_images > 0) PARE_RETURN_IF_ERROR(whiten(graph, run));
  return graph;
}

Result<Graph> finish_graph(const Graph& trained, const TrainRun& run) {
  PARE_ASSIGN_OR_RETURN(Graph graph, fold_batch_norm(trained));
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
