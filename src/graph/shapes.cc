// Shape inference and the checker.
//
// Rules only ever see numbers. A graph whose batch is open (kDynamic) is inferred twice, with two
// different primes for the batch, and whatever differs between the two depends on the number of
// images: that follows products, Shape nodes and computed Reshape targets without an algebra of
// symbols, and refuses a graph whose shapes only fit the batch it was exported with.
#include "graph/shapes.h"

#include <fmt/format.h>

#include <unordered_set>

#include "graph/graph.h"
#include "graph/operators.h"

namespace pare {
namespace {

Status add_inputs(const Graph& graph, int64_t batch, ValueInfos& infos) {
  for (const ValueInfo& input : graph.inputs) {
    ValueInfo info = input;
    for (size_t i = 0; i < info.shape.size(); ++i) {
      if (info.shape[i] == kDynamic && i == 0) info.shape[i] = batch;
      if (info.shape[i] < 0) {
        return unsupported(fmt::format("input '{}' of {}: only the number of images may be open",
                                       input.name, shape_string(input.shape)));
      }
    }
    PARE_RETURN_IF_ERROR(
        checked_element_count(info.shape).status().with_context("input '" + input.name + "'"));
    infos[input.name] = std::move(info);
  }
  return ok_status();
}

Status infer_node(const Graph& graph, const Node& node, Inference& inference) {
  PARE_RETURN_IF_ERROR(check_node(node));
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.has_input(i) && !inference.infos.contains(node.inputs[i])) {
      return corrupt(fmt::format("node '{}' ({}): nothing writes its input '{}' before it",
                                 node.name, node.op, node.inputs[i]));
    }
  }
  RuleContext context(node, graph.opset, inference.infos, inference.known);
  PARE_RETURN_IF_ERROR(find_operator(node.domain, node.op)->rule(context));
  for (const ValueInfo& info : context.outputs()) {
    PARE_RETURN_IF_ERROR(checked_element_count(info.shape)
                             .status()
                             .with_context(fmt::format("node '{}' ({})", node.name, node.op)));
  }
  std::vector<KnownValue> known;
  if (evaluate_known(context, known)) {
    for (size_t i = 0; i < known.size(); ++i) {
      inference.known[node.outputs[i]] = std::move(known[i]);
    }
  }
  for (ValueInfo& info : context.outputs()) {
    if (!info.name.empty()) inference.infos[info.name] = std::move(info);
  }
  return ok_status();
}

Result<ValueInfos> merge(const Graph& graph, const ValueInfos& first, const ValueInfos& second) {
  ValueInfos merged = first;
  for (auto& [name, info] : merged) {
    const ValueInfo& other = second.at(name);
    if (info.shape.size() != other.shape.size() || info.type != other.type) {
      return unsupported(fmt::format(
          "graph '{}': the number of dimensions of '{}' depends on the number of images",
          graph.name, name));
    }
    for (size_t i = 0; i < info.shape.size(); ++i) {
      if (info.shape[i] != other.shape[i]) info.shape[i] = kDynamic;
    }
  }
  return merged;
}

}  // namespace

bool has_open_batch(const Graph& graph) {
  for (const ValueInfo& input : graph.inputs) {
    if (!input.shape.empty() && input.shape[0] == kDynamic) return true;
  }
  return false;
}

Result<Inference> infer_concrete(const Graph& graph, int64_t batch) {
  Inference inference;
  PARE_RETURN_IF_ERROR(add_inputs(graph, batch, inference.infos));
  for (const auto& [name, tensor] : graph.initializers) {
    inference.infos[name] = {name, tensor.type(), tensor.shape()};
    KnownValue value;
    if (known_from_tensor(tensor, value)) inference.known[name] = std::move(value);
  }
  for (const Node& node : graph.nodes) {
    PARE_RETURN_IF_ERROR(infer_node(graph, node, inference));
  }
  return inference;
}

Result<ValueInfos> infer_shapes(const Graph& graph, int64_t batch) {
  if (batch != kDynamic || !has_open_batch(graph)) {
    PARE_ASSIGN_OR_RETURN(Inference inference,
                          infer_concrete(graph, batch == kDynamic ? 1 : batch));
    return std::move(inference.infos);
  }
  auto first = infer_concrete(graph, kFirstBatch);
  auto second = first.ok() ? infer_concrete(graph, kSecondBatch) : Result<Inference>(first);
  if (!second.ok()) {
    // An error that one image has too is not about the batch, and reads better without it.
    auto single = infer_concrete(graph, 1);
    if (!single.ok()) return single.status();
    return second.status().with_context(
        "the graph says it takes any number of images, but not "
        "this one");
  }
  return merge(graph, first->infos, second->infos);
}

namespace {

Status check_names(const Graph& graph) {
  std::unordered_set<std::string> written;
  const auto write = [&](const std::string& value, const std::string& by) -> Status {
    if (value.empty()) return corrupt(fmt::format("{} has no name", by));
    if (written.insert(value).second) return ok_status();
    return corrupt(fmt::format("{}: the value '{}' is already written elsewhere", by, value));
  };
  for (const ValueInfo& input : graph.inputs) PARE_RETURN_IF_ERROR(write(input.name, "an input"));
  for (const auto& [value, tensor] : graph.initializers) {
    PARE_RETURN_IF_ERROR(write(value, "an initializer"));
    if (tensor.empty()) return corrupt(fmt::format("initializer '{}' has no data", value));
  }
  std::unordered_set<std::string> node_names;
  for (const Node& node : graph.nodes) {
    if (node.name.empty()) {
      return corrupt(fmt::format("a node ({}) has no name", node.op));
    }
    if (!node_names.insert(node.name).second) {
      return corrupt(fmt::format("two nodes are called '{}'", node.name));
    }
    for (const std::string& value : node.outputs) {
      if (value.empty()) continue;
      PARE_RETURN_IF_ERROR(write(value, fmt::format("node '{}' ({})", node.name, node.op)));
    }
  }
  for (const ValueInfo& output : graph.outputs) {
    if (!written.contains(output.name)) {
      return corrupt(fmt::format("nothing writes the graph's output '{}'", output.name));
    }
  }
  return ok_status();
}

}  // namespace

Status check_graph(const Graph& graph) {
  if (graph.opset < kMinOpset || graph.opset > kMaxOpset) {
    return unsupported(
        fmt::format("opset {}: Pare knows {} to {}", graph.opset, kMinOpset, kMaxOpset));
  }
  if (graph.inputs.empty() || graph.outputs.empty()) {
    return corrupt(fmt::format("a graph of {} inputs and {} outputs", graph.inputs.size(),
                               graph.outputs.size()));
  }
  PARE_RETURN_IF_ERROR(check_names(graph));
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph));
  for (const ValueInfo& output : graph.outputs) {
    const ValueInfo& found = infos.at(output.name);
    if (output != found) {
      return corrupt(fmt::format("output '{}' is declared as {} {}, but is {} {}", output.name,
                                 dtype_name(output.type), shape_string(output.shape),
                                 dtype_name(found.type), shape_string(found.shape)));
    }
  }
  return ok_status();
}

Status set_output_shapes(Graph& graph) {
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph));
  for (ValueInfo& output : graph.outputs) {
    const auto it = infos.find(output.name);
    if (it == infos.end()) {
      return corrupt(fmt::format("nothing writes the graph's output '{}'", output.name));
    }
    output = it->second;
  }
  return ok_status();
}

}  // namespace pare
