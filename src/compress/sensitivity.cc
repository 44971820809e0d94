#include "compress/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "base/file.h"
#include "compress/calibrate.h"
#include "runtime/executor.h"

namespace pare {
namespace {

// Values kept of all images so that only what follows a layer is run again; beyond this the whole
// model runs.
constexpr int64_t kMaxCutBytes = int64_t{512} << 20;

// The part of a graph that depends on one weight, and the values it reads from the rest.
struct Tail {
  Graph graph;
  std::vector<std::string> cut;
};

// Everything that depends on `weight`. The tail's inputs are the values that cross.
Tail make_tail(const Graph& graph, const std::string& weight, const ValueInfos& infos) {
  Tail tail;
  tail.graph = graph;
  tail.graph.nodes.clear();
  tail.graph.inputs.clear();
  std::set<std::string> dependent = {weight};
  std::set<std::string> crossing;
  for (const Node& node : graph.nodes) {
    const bool follows = std::any_of(node.inputs.begin(), node.inputs.end(),
                                     [&](const auto& input) { return dependent.contains(input); });
    if (!follows) continue;
    tail.graph.nodes.push_back(node);
    dependent.insert(node.outputs.begin(), node.outputs.end());
  }
  for (const Node& node : tail.graph.nodes) {
    for (const std::string& input : node.inputs) {
      if (input.empty() || dependent.contains(input) || graph.initializers.contains(input))
        continue;
      if (!crossing.insert(input).second) continue;
      tail.cut.push_back(input);
      const auto found = infos.find(input);
      if (found != infos.end()) tail.graph.inputs.push_back(found->second);
    }
  }
  remove_unused(tail.graph);
  return tail;
}

int64_t cut_bytes(const Tail& tail, int64_t images) {
  int64_t bytes = 0;
  for (const ValueInfo& input : tail.graph.inputs) {
    int64_t elements = images;
    for (size_t i = 1; i < input.shape.size(); ++i)
      elements *= std::max<int64_t>(input.shape[i], 1);
    bytes += elements * dtype_bits(input.type) / 8;
  }
  return bytes;
}

// A value whose first dimension is the images, as its batches come.
bool is_batched(const ValueInfo& info) { return !info.shape.empty() && info.shape[0] == kDynamic; }

// Runs tails of one graph over the images, a batch at a time, so that no more than one batch's
// values are ever held in full precision beside the executors.
class TailRunner {
 public:
  TailRunner(const Graph& graph, const Dataset& images, const CompressContext& context)
      : graph_(graph), images_(images), context_(context) {}

  // The values that cross into the tail, for every batch.
  Status prepare(const Tail& tail) {
    batches_.clear();
    ForwardOptions options;
    options.batch_size = context_.batch_size;
    options.threads = context_.threads;
    options.keep = tail.cut;
    std::map<std::string, std::vector<Tensor>> values;
    options.show = [&values](const std::string& name, const Tensor& value) {
      Tensor copy(value.type(), value.shape());
      std::memcpy(copy.mutable_data(), value.data(), static_cast<size_t>(value.byte_count()));
      values[name].push_back(std::move(copy));
      return ok_status();
    };
    PARE_RETURN_IF_ERROR(forward(graph_, images_, options).status());
    const size_t count = values.empty() ? 0 : values.begin()->second.size();
    for (size_t b = 0; b < count; ++b) {
      std::vector<Tensor>& inputs = batches_.emplace_back();
      for (const std::string& name : tail.cut) inputs.push_back(values[name][b]);
    }
    return ok_status();
  }

  // The tail's first output for all images, one after the other.
  Result<Tensor> run(const Graph& tail) {
    std::vector<float> all;
    int64_t rows = 0;
    std::optional<Executor> executor;
    int64_t made_for = -1;
    for (const std::vector<Tensor>& inputs : batches_) {
      const int64_t batch = inputs[0].dim(0);
      if (made_for != batch) {
        ExecutorOptions options;
        options.batch = batch;
        options.threads = context_.threads;
        PARE_ASSIGN_OR_RETURN(executor, Executor::create(tail, options));
        made_for = batch;
      }
      PARE_ASSIGN_OR_RETURN(const std::vector<Tensor> outputs, executor->run(inputs));
      const std::vector<float> values = to_float_vector(outputs[0]);
      all.insert(all.end(), values.begin(), values.end());
      rows += batch;
    }
    if (rows == 0) return internal_error("a tail without images");
    const auto columns = static_cast<int64_t>(all.size()) / rows;
    return Tensor::from_values<float>({rows, columns}, all);
  }

 private:
  const Graph& graph_;
  const Dataset& images_;
  const CompressContext& context_;
  std::vector<std::vector<Tensor>> batches_;
};

// A text from parts, each behind its length: no two lists of parts give the same one.
class Key {
 public:
  void add(std::string_view part) { text_ += fmt::format("{}:{}", part.size(), part); }
  void add(int64_t part) { add(fmt::format("{}", part)); }
  void add(double part) { add(fmt::format("{}", part)); }
  void add(float part) { add(fmt::format("{}", part)); }
  void add(const Tensor& tensor) {
    add(dtype_name(tensor.type()));
    add(tensor.shape());
    add(hash_bytes({tensor.data(), static_cast<size_t>(tensor.byte_count())}));
  }
  template <typename T>
  void add(const std::vector<T>& parts) {
    add(static_cast<int64_t>(parts.size()));
    for (const T& part : parts) add(part);
  }
  std::string hash() const { return hash_bytes(std::as_bytes(std::span(text_))); }

 private:
  std::string text_;
};

// What the graph's input is made of: the same image is another input under another contract.
void add_contract(const InputContract& contract, Key& key) {
  key.add(contract.resize);
  for (const bool flag : {contract.channels_last, contract.bgr, contract.float_input}) {
    key.add(static_cast<int64_t>(flag));
  }
  key.add(contract.scale);
  key.add(contract.mean);
  key.add(contract.std);
}

// Identifies what a measurement depends on: all that the graph computes, and on what.
std::string damage_key(const Graph& graph, const std::vector<std::string>& weights,
                       const std::vector<double>& shares, const Dataset& images,
                       const Pruner& pruner) {
  Key key;
  key.add(pruner.key());
  key.add(images.hash());
  key.add(graph.opset);
  add_contract(graph.contract, key);
  for (const auto* values : {&graph.inputs, &graph.outputs}) {
    key.add(static_cast<int64_t>(values->size()));
    for (const ValueInfo& value : *values) {
      key.add(value.name);
      key.add(dtype_name(value.type));
      key.add(value.shape);
    }
  }
  for (const auto& [name, tensor] : graph.initializers) {
    key.add(name);
    key.add(tensor);
  }
  for (const Node& node : graph.nodes) {
    key.add(node.domain + "." + node.op);
    key.add(node.inputs);
    key.add(node.outputs);
    key.add(static_cast<int64_t>(node.attributes.size()));
    for (const auto& [name, attribute] : node.attributes) {
      key.add(name);
      std::visit([&key](const auto& value) { key.add(value); }, attribute);
    }
  }
  key.add(weights);
  key.add(shares);
  return key.hash();
}

}  // namespace

Result<std::vector<DamageCurve>> measure_pruning_damage(const Graph& graph,
                                                        const std::vector<std::string>& weights,
                                                        const std::vector<double>& shares,
                                                        const Dataset& images, Pruner& pruner,
                                                        const CompressContext& context) {
  const std::string key = damage_key(graph, weights, shares, images, pruner);
  if (context.damage_cache != nullptr) {
    const auto found = context.damage_cache->find(key);
    if (found != context.damage_cache->end()) return found->second;
  }
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph));
  ForwardOptions whole;
  whole.batch_size = context.batch_size;
  whole.threads = context.threads;
  PARE_ASSIGN_OR_RETURN(const Tensor reference, forward(graph, images, whole));
  TailRunner runner(graph, images, context);
  std::vector<DamageCurve> curves;
  for (const std::string& weight : weights) {
    PARE_RETURN_IF_ERROR(context.check_stop());
    const Tensor& values = graph.initializers.at(weight);
    Tail tail = make_tail(graph, weight, infos);
    const bool tail_alone =
        cut_bytes(tail, images.size()) <= kMaxCutBytes &&
        tail.graph.inputs.size() == tail.cut.size() && !tail.cut.empty() &&
        std::all_of(tail.graph.inputs.begin(), tail.graph.inputs.end(), is_batched);
    if (tail_alone) PARE_RETURN_IF_ERROR(runner.prepare(tail));
    DamageCurve curve;
    curve.weights = values.size();
    curve.share = {0};
    curve.damage = {0};
    for (const double share : shares) {
      Graph& pruned = tail_alone ? tail.graph : (tail.graph = graph);
      const int64_t count = std::llround(share * static_cast<double>(values.size()));
      PARE_ASSIGN_OR_RETURN(PrunedWeight one, pruner.prune(weight, count));
      pruned.initializers[weight] = std::move(one.weight);
      PARE_ASSIGN_OR_RETURN(const Tensor logits,
                            tail_alone ? runner.run(pruned) : forward(pruned, images, whole));
      const double damage = mean_divergence(reference, logits);
      if (!std::isfinite(damage)) {
        return numeric_error(fmt::format(
            "with {:.0f} % of '{}' pruned, or already before, the answers hold NaN or infinite "
            "elements",
            100 * share, weight));
      }
      curve.share.push_back(share);
      curve.damage.push_back(damage);
    }
    context.say(fmt::format("sensitivity {}/{}: {} loses {:.4f} nats at {:.0f} %",
                            curves.size() + 1, weights.size(), weight, curve.damage.back(),
                            100 * shares.back()));
    curves.push_back(std::move(curve));
  }
  if (context.damage_cache != nullptr) (*context.damage_cache)[key] = curves;
  return curves;
}

}  // namespace pare
