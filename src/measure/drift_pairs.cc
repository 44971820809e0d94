#include "measure/drift_pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "runtime/planner.h"

namespace pare {
namespace {

template <size_t N>
bool is_one_of(const std::string& op, const std::array<std::string_view, N>& ops) {
  return std::find(ops.begin(), ops.end(), op) != ops.end();
}

bool only_moves(const Node& node) {
  static constexpr std::array<std::string_view, 14> kMoving = {
      "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze",      "Identity",         "Cast",
      "Dropout", "Slice",   "Gather",    "Split",   "QuantizeLinear", "DequantizeLinear", "Shape"};
  return is_one_of(node.op, kMoving);
}

bool is_activation(const Node& node) {
  static constexpr std::array<std::string_view, 7> kActivations = {
      "Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSwish", "Gelu", "Tanh"};
  return is_one_of(node.op, kActivations);
}

double relative(const DriftPair& pair) {
  if (pair.noise == 0) return 0;
  const double error = std::sqrt(pair.noise / pair.signal);
  return std::isnan(error) ? HUGE_VAL : error;
}

}  // namespace

DriftGraph::DriftGraph(Graph graph, ValueInfos infos)
    : graph_(std::move(graph)), index_(graph_), infos_(std::move(infos)) {}

Result<DriftGraph> DriftGraph::create(Graph graph) {
  PARE_ASSIGN_OR_RETURN(ValueInfos infos, infer_shapes(graph, kDriftBatch));
  return DriftGraph(std::move(graph), std::move(infos));
}

bool DriftGraph::is_float(const std::string& value) const {
  return is_floating(infos_.at(value).type);
}

std::string DriftGraph::as_read(const std::string& value) const {
  const Node* quantize = sole_reader(value, "QuantizeLinear");
  if (quantize == nullptr) return value;
  const Tensor* scale = graph_.find_initializer(quantize->inputs[1]);
  return scale == nullptr || scale->size() != 1 ? value : quantize->outputs[0];
}

void DriftGraph::to_numbers(const std::string& name, std::vector<float>& elements) const {
  if (is_float(name)) return;
  const Node& quantize = node(index_.producer(name));
  const auto constant = [this, &quantize](size_t input) {
    const Tensor* tensor =
        quantize.has_input(input) ? graph_.find_initializer(quantize.inputs[input]) : nullptr;
    return tensor == nullptr ? 0.0F : to_float_vector(*tensor)[0];
  };
  const float scale = constant(1);
  const float zero_point = constant(2);
  for (float& f : elements) f = (f - zero_point) * scale;
}

bool DriftGraph::is_inside(const std::string& value) const {
  const std::vector<int>& readers = index_.consumers(value);
  return readers.size() == 1 && !index_.is_output(value) && ends_layer(node(readers[0]));
}

const Node& DriftGraph::beginning(const Node& end) const {
  const Node* at = &end;
  while (ends_layer(*at)) {
    const bool constant_first = graph_.find_initializer(at->inputs[0]) != nullptr;
    const std::string& source = at->inputs[constant_first ? 1 : 0];
    const int producer = index_.producer(source);
    if (producer < 0 || only_moves(node(producer)) || !is_inside(source)) break;
    at = &node(producer);
  }
  return *at;
}

std::optional<std::string> DriftGraph::counterpart(const std::string& name,
                                                   const std::string& value) const {
  if (index_.producer(value) >= 0) return value;
  for (const Node& node : graph_.nodes) {
    if (!name.empty() && node.name == name && node.outputs.size() == 1) return node.outputs[0];
  }
  return std::nullopt;
}

bool DriftGraph::ends_layer(const Node& node) const {
  const bool bias = node.op == "Add" && (graph_.find_initializer(node.inputs[0]) != nullptr ||
                                         graph_.find_initializer(node.inputs[1]) != nullptr);
  return bias || is_activation(node);
}

const Node* DriftGraph::sole_reader(const std::string& value, const char* op) const {
  const std::vector<int>& readers = index_.consumers(value);
  if (readers.size() != 1 || index_.is_output(value)) return nullptr;
  const Node& reader = node(readers[0]);
  return reader.op == op && reader.inputs[0] == value ? &reader : nullptr;
}

Result<DriftRunner> DriftRunner::create(const DriftSide& side) {
  const Graph& graph = *side.graph;
  if (graph.inputs.size() != 1) {
    return unsupported(fmt::format("a classifier has one input, found {}", graph.inputs.size()));
  }
  PARE_ASSIGN_OR_RETURN(ValueInfos whole, infer_shapes(graph, 1));
  PARE_ASSIGN_OR_RETURN(InputAdapter adapter,
                        InputAdapter::create(graph, whole.at(graph.inputs[0].name)));
  PARE_ASSIGN_OR_RETURN(Graph prepared, prepare_graph(graph));
  PARE_ASSIGN_OR_RETURN(DriftGraph values, DriftGraph::create(std::move(prepared)));
  return DriftRunner(side.options, std::move(adapter), std::move(values));
}

Status DriftRunner::plan(std::vector<std::string> keep, int64_t batch) {
  PARE_ASSIGN_OR_RETURN(
      executor_, Executor::create(values_.graph(), {.batch = batch,
                                                    .threads = options_.threads,
                                                    .keep = std::move(keep),
                                                    .reference_kernels = options_.reference_kernels,
                                                    .cpu_level = options_.cpu_level,
                                                    .precision = options_.precision}));
  return ok_status();
}

Status DriftRunner::run(std::span<const uint8_t> pixels, int64_t count,
                        const Executor::ShowValue& show) {
  const ValueInfo& input = values_.graph().inputs[0];
  Shape shape = values_.info(input.name).shape;
  shape[0] = count;
  Tensor tensor(input.type, shape);
  adapter_.convert(pixels, count, tensor.mutable_data());
  return executor_->run({&tensor, 1}, show).status();
}

Result<std::vector<DriftPair>> pair_values(const DriftGraph& first, const DriftGraph& second) {
  std::vector<DriftPair> pairs;
  for (const Node& node : first.graph().nodes) {
    if (only_moves(node) || node.outputs.size() != 1) continue;
    const std::string& value = node.outputs[0];
    if (!first.is_float(value) || first.is_inside(value)) continue;
    const auto other = second.counterpart(node.name, value);
    if (!other || !second.is_float(*other) ||
        second.info(*other).shape != first.info(value).shape) {
      continue;
    }
    const Node& layer = first.beginning(node);
    pairs.push_back({{.layer = layer.name.empty() ? value : layer.name,
                      .operation = &layer == &node ? node.op : layer.op + " + " + node.op,
                      .value = value},
                     first.as_read(value),
                     second.as_read(*other)});
  }
  if (pairs.empty()) return invalid_argument("the two models have no layer in common");
  return pairs;
}

std::vector<std::string> names_of(const std::vector<DriftPair>& pairs,
                                  std::string DriftPair::*side) {
  std::vector<std::string> names;
  names.reserve(pairs.size());
  for (const DriftPair& pair : pairs) names.push_back(pair.*side);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Status add_difference(std::span<const float> a, std::span<const float> b, DriftPair& pair) {
  DriftPoint& point = pair.point;
  if (a.size() != b.size()) {
    return internal_error(
        fmt::format("value '{}' has {} and {} elements", point.value, a.size(), b.size()));
  }
  for (size_t i = 0; i < a.size(); ++i) {
    // The same infinity (of a mask), or no number on either side: nothing has come apart.
    if (a[i] == b[i] ? std::isinf(a[i]) : std::isnan(a[i]) && std::isnan(b[i])) continue;
    const double x = a[i];
    const double apart = std::abs(x - static_cast<double>(b[i]));
    pair.signal += x * x;
    pair.noise += apart * apart;
    point.largest_value = std::max(point.largest_value, std::abs(x));
    // A NaN is as far away as anything can be.
    point.largest_difference =
        std::isnan(apart) ? HUGE_VAL : std::max(point.largest_difference, apart);
  }
  point.elements += static_cast<int64_t>(a.size());
  return ok_status();
}

Result<std::vector<DriftPoint>> finish(std::vector<DriftPair> pairs) {
  std::vector<DriftPoint> points;
  points.reserve(pairs.size());
  for (DriftPair& pair : pairs) {
    if (pair.point.elements == 0) {
      return internal_error(fmt::format("value '{}' was never shown", pair.point.value));
    }
    pair.point.relative_error = relative(pair);
    points.push_back(std::move(pair.point));
  }
  return points;
}

}  // namespace pare
