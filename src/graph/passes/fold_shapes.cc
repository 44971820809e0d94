#include <unordered_map>

#include "graph/operators.h"
#include "graph/passes.h"
#include "graph/shapes.h"

namespace pare {
namespace {

// One inference for a fixed batch, two different ones for an open batch: what is equal in both does
// not depend on the number of images (shapes.cc).
struct Views {
  Inference first;
  Inference second;
};

Result<Views> infer_views(const Graph& graph) {
  const bool open = has_open_batch(graph);
  Views views;
  PARE_ASSIGN_OR_RETURN(views.first, infer_concrete(graph, open ? kFirstBatch : 1));
  if (open) {
    PARE_ASSIGN_OR_RETURN(views.second, infer_concrete(graph, kSecondBatch));
  } else {
    views.second = views.first;
  }
  return views;
}

// The value as a constant, when it is one whatever the number of images. Long floating ones are
// weights on their way, which the runtime folds and files keep as they are.
const KnownValue* constant_value(const Views& views, const std::string& value) {
  const auto a = views.first.known.find(value);
  const auto b = views.second.known.find(value);
  if (a == views.first.known.end() || b == views.second.known.end() || a->second != b->second) {
    return nullptr;
  }
  return is_floating(a->second.type) && a->second.floats.size() != 1 ? nullptr : &a->second;
}

// The shape with -1 where the number of images stands; empty when that is not one place.
std::vector<int64_t> open_target(const Views& views, const std::string& value) {
  const Shape& a = views.first.infos.at(value).shape;
  const Shape& b = views.second.infos.at(value).shape;
  std::vector<int64_t> target = a;
  int open = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == 0) return {};  // to Reshape a 0 means "as it was"
    if (a[i] == b[i]) continue;
    target[i] = -1;
    open += 1;
  }
  return open == 1 ? target : std::vector<int64_t>{};
}

void fold_reshape_target(Graph& graph, Node& node, const Views& views) {
  if (graph.initializers.contains(node.inputs[1])) return;
  const std::vector<int64_t> target = open_target(views, node.outputs[0]);
  if (target.empty()) return;
  const std::string name = graph.fresh_name(node.outputs[0] + "_shape");
  graph.initializers[name] =
      Tensor::from_values<int64_t>({static_cast<int64_t>(target.size())}, target);
  node.inputs[1] = name;
}

}  // namespace

Result<Graph> fold_shapes(Graph graph) {
  PARE_ASSIGN_OR_RETURN(const Views views, infer_views(graph));
  const GraphIndex index(graph);
  std::vector<Node> kept;
  for (Node& node : graph.nodes) {
    const KnownValue* constant =
        node.outputs.size() == 1 ? constant_value(views, node.outputs[0]) : nullptr;
    if (constant != nullptr && !index.is_output(node.outputs[0])) {
      graph.initializers[node.outputs[0]] = tensor_from_known(*constant);
      continue;
    }
    kept.push_back(std::move(node));
  }
  graph.nodes = std::move(kept);
  for (Node& node : graph.nodes) {
    if (node.op == "Reshape" && node.domain.empty()) fold_reshape_target(graph, node, views);
  }
  remove_unused(graph);
  return graph;
}

Result<Graph> fix_batch(Graph graph, int64_t batch) {
  if (batch < 1) return invalid_argument(fmt::format("a batch of {}, expected at least 1", batch));
  for (ValueInfo& input : graph.inputs) {
    if (!input.shape.empty() && input.shape[0] == kDynamic) input.shape[0] = batch;
  }
  PARE_RETURN_IF_ERROR(set_output_shapes(graph));
  return graph;
}

}  // namespace pare
