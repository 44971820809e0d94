#include "measure/drift.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "runtime/executor.h"
#include "runtime/input_adapter.h"
#include "runtime/planner.h"

namespace pare {
namespace {

// All values of a batch are held for the first network: some 400 MB for ViT-B/16 and four images.
constexpr int64_t kBatch = 4;

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

// One network, prepared as a Session prepares it.
class Side {
 public:
  static Result<Side> create(const DriftSide& side) {
    const Graph& graph = *side.graph;
    if (graph.inputs.size() != 1) {
      return unsupported(fmt::format("a classifier has one input, found {}", graph.inputs.size()));
    }
    PARE_ASSIGN_OR_RETURN(ValueInfos whole, infer_shapes(graph, 1));
    PARE_ASSIGN_OR_RETURN(InputAdapter adapter,
                          InputAdapter::create(graph, whole.at(graph.inputs[0].name)));
    PARE_ASSIGN_OR_RETURN(Graph prepared, prepare_graph(graph));
    PARE_ASSIGN_OR_RETURN(ValueInfos infos, infer_shapes(prepared, kBatch));
    return Side(side.options, std::move(adapter), std::move(prepared), std::move(infos));
  }

  const Graph& graph() const { return graph_; }
  const InputAdapter& adapter() const { return adapter_; }
  const Shape& shape(const std::string& value) const { return infos_.at(value).shape; }
  bool is_float(const std::string& value) const { return is_floating(infos_.at(value).type); }

  // What the readers of `value` see: its integers if it is quantised for all of them with one
  // scale, and it itself otherwise.
  std::string as_read(const std::string& value) const {
    const Node* quantize = sole_reader(value, "QuantizeLinear");
    if (quantize == nullptr) return value;
    const Tensor* scale = graph_.find_initializer(quantize->inputs[1]);
    return scale == nullptr || scale->size() != 1 ? value : quantize->outputs[0];
  }
  // What as_read() named, as the numbers that it stands for.
  std::vector<float> numbers(const std::string& name, const Tensor& value) const {
    std::vector<float> floats = to_float_vector(value);
    if (is_floating(value.type())) return floats;
    const Node& quantize = node(index_.producer(name));
    const auto constant = [this, &quantize](size_t input) {
      const Tensor* tensor =
          quantize.has_input(input) ? graph_.find_initializer(quantize.inputs[input]) : nullptr;
      return tensor == nullptr ? 0.0F : to_float_vector(*tensor)[0];
    };
    const float scale = constant(1);
    const float zero_point = constant(2);
    for (float& f : floats) f = (f - zero_point) * scale;
    return floats;
  }

  // Whether `value` stands between a layer and its bias or activation.
  bool is_inside(const std::string& value) const {
    const std::vector<int>& readers = index_.consumers(value);
    return readers.size() == 1 && !index_.is_output(value) && ends_layer(node(readers[0]));
  }

  // The node that a layer begins with, which `end` ends.
  const Node& beginning(const Node& end) const {
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

  // The value beside `value`, which the node `name` writes in the other network; nullopt: none.
  std::optional<std::string> counterpart(const std::string& name, const std::string& value) const {
    if (index_.producer(value) >= 0) return value;
    for (const Node& node : graph_.nodes) {
      if (!name.empty() && node.name == name && node.outputs.size() == 1) return node.outputs[0];
    }
    return std::nullopt;
  }

  Status plan(std::vector<std::string> keep, int64_t batch) {
    PARE_ASSIGN_OR_RETURN(executor_,
                          Executor::create(graph_, {.batch = batch,
                                                    .threads = options_.threads,
                                                    .keep = std::move(keep),
                                                    .reference_kernels = options_.reference_kernels,
                                                    .cpu_level = options_.cpu_level,
                                                    .precision = options_.precision}));
    return ok_status();
  }

  Status run(std::span<const uint8_t> pixels, int64_t count, const Executor::ShowValue& show) {
    Tensor input(graph_.inputs[0].type, [&] {
      Shape shape = this->shape(graph_.inputs[0].name);
      shape[0] = count;
      return shape;
    }());
    adapter_.convert(pixels, count, input.mutable_data());
    return executor_->run({&input, 1}, show).status();
  }

 private:
  Side(SessionOptions options, InputAdapter adapter, Graph graph, ValueInfos infos)
      : options_(std::move(options)),
        adapter_(std::move(adapter)),
        graph_(std::move(graph)),
        index_(graph_),
        infos_(std::move(infos)) {}

  const Node& node(int i) const { return graph_.nodes[static_cast<size_t>(i)]; }

  bool ends_layer(const Node& node) const {
    const bool bias = node.op == "Add" && (graph_.find_initializer(node.inputs[0]) != nullptr ||
                                           graph_.find_initializer(node.inputs[1]) != nullptr);
    return bias || is_activation(node);
  }

  const Node* sole_reader(const std::string& value, const char* op) const {
    const std::vector<int>& readers = index_.consumers(value);
    if (readers.size() != 1 || index_.is_output(value)) return nullptr;
    const Node& reader = node(readers[0]);
    return reader.op == op && reader.inputs[0] == value ? &reader : nullptr;
  }

  SessionOptions options_;
  InputAdapter adapter_;
  Graph graph_;
  GraphIndex index_;
  ValueInfos infos_;
  std::optional<Executor> executor_;
};

struct Pair {
  DriftPoint point;
  std::string first;
  std::string second;
  double signal = 0;
  double noise = 0;
};

std::vector<Pair> pair_values(const Side& first, const Side& second) {
  std::vector<Pair> pairs;
  for (const Node& node : first.graph().nodes) {
    if (only_moves(node) || node.outputs.size() != 1) continue;
    const std::string& value = node.outputs[0];
    if (!first.is_float(value) || first.is_inside(value)) continue;
    const auto other = second.counterpart(node.name, value);
    if (!other || !second.is_float(*other) || second.shape(*other) != first.shape(value)) continue;
    const Node& layer = first.beginning(node);
    pairs.push_back({{.layer = layer.name.empty() ? value : layer.name,
                      .operation = &layer == &node ? node.op : layer.op + " + " + node.op,
                      .value = value},
                     first.as_read(value),
                     second.as_read(*other)});
  }
  return pairs;
}

void add(std::span<const float> a, std::span<const float> b, Pair& pair) {
  DriftPoint& point = pair.point;
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
}

double relative(const Pair& pair) {
  if (pair.noise == 0) return 0;
  const double error = std::sqrt(pair.noise / pair.signal);
  return std::isnan(error) ? HUGE_VAL : error;
}

// One batch through both.
Status compare_batch(Side& first, Side& second, std::span<const uint8_t> pixels, int64_t count,
                     std::vector<Pair>& pairs) {
  std::map<std::string, std::vector<float>> values;
  const auto hold = [&](const std::string& name, const Tensor& value) {
    values[name] = first.numbers(name, value);
    return ok_status();
  };
  PARE_RETURN_IF_ERROR(first.run(pixels, count, hold));
  const auto compare = [&](const std::string& name, const Tensor& value) -> Status {
    const std::vector<float> theirs = second.numbers(name, value);
    for (Pair& pair : pairs) {
      if (pair.second != name) continue;
      const std::vector<float>& ours = values[pair.first];
      if (ours.size() != theirs.size()) {
        return internal_error(fmt::format("value '{}' has {} and {} elements", pair.point.value,
                                          ours.size(), theirs.size()));
      }
      add(ours, theirs, pair);
    }
    return ok_status();
  };
  return second.run(pixels, count, compare);
}

std::vector<std::string> names_of(const std::vector<Pair>& pairs, std::string Pair::*side) {
  std::vector<std::string> names;
  names.reserve(pairs.size());
  for (const Pair& pair : pairs) names.push_back(pair.*side);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace

double signal_to_noise_db(const DriftPoint& point) {
  return -20 * std::log10(point.relative_error);
}

Result<std::vector<DriftPoint>> measure_drift(const DriftSide& first, const DriftSide& second,
                                              const Dataset& data, int64_t images) {
  PARE_ASSIGN_OR_RETURN(Side a, Side::create(first));
  PARE_ASSIGN_OR_RETURN(Side b, Side::create(second));
  const ImageShape takes{a.adapter().channels(), a.adapter().height(), a.adapter().width()};
  const ImageShape other{b.adapter().channels(), b.adapter().height(), b.adapter().width()};
  if (takes != other || takes != data.image_shape()) {
    return invalid_argument(
        fmt::format("the models take images of {}x{}x{} and {}x{}x{}, those of '{}' are {}x{}x{}",
                    takes.channels, takes.height, takes.width, other.channels, other.height,
                    other.width, data.description(), data.image_shape().channels,
                    data.image_shape().height, data.image_shape().width));
  }
  std::vector<Pair> pairs = pair_values(a, b);
  if (pairs.empty()) return invalid_argument("the two models have no layer in common");
  images = std::min(images, data.size());
  const std::vector<std::string> kept_first = names_of(pairs, &Pair::first);
  const std::vector<std::string> kept_second = names_of(pairs, &Pair::second);
  std::vector<uint8_t> pixels(static_cast<size_t>(kBatch * takes.size()));
  int64_t planned_for = -1;
  for (int64_t done = 0; done < images;) {
    const int64_t count = std::min(kBatch, images - done);
    if (count != planned_for) {
      PARE_RETURN_IF_ERROR(a.plan(kept_first, count));
      PARE_RETURN_IF_ERROR(b.plan(kept_second, count));
      planned_for = count;
    }
    const auto batch = std::span(pixels).first(static_cast<size_t>(count * takes.size()));
    PARE_RETURN_IF_ERROR(read_images(data, done, batch));
    PARE_RETURN_IF_ERROR(compare_batch(a, b, batch, count, pairs));
    done += count;
  }
  std::vector<DriftPoint> points;
  points.reserve(pairs.size());
  for (Pair& pair : pairs) {
    if (pair.point.elements == 0) {
      return internal_error(fmt::format("value '{}' was never shown", pair.point.value));
    }
    pair.point.relative_error = relative(pair);
    points.push_back(std::move(pair.point));
  }
  return points;
}

}  // namespace pare
