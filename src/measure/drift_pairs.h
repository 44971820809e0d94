// What drift.cc (two of our plans) and peer_drift.cc (one beside another engine) share: which
// values of two graphs are the same layer's, as which numbers they are read, and how far they are
// apart.
#ifndef PARE_MEASURE_DRIFT_PAIRS_H_
#define PARE_MEASURE_DRIFT_PAIRS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pare/status.h"

#include "data/dataset.h"
#include "graph/graph.h"
#include "measure/drift.h"
#include "runtime/executor.h"
#include "runtime/input_adapter.h"

namespace pare {

// All values of a batch are held for the first network: some 400 MB for ViT-B/16 and four images.
inline constexpr int64_t kDriftBatch = 4;

// A graph, asked for its layers.
class DriftGraph {
 public:
  static Result<DriftGraph> create(Graph graph);

  const Graph& graph() const { return graph_; }
  const ValueInfo& info(const std::string& value) const { return infos_.at(value); }
  bool is_float(const std::string& value) const;
  // What the readers of `value` see: its integers if it is quantised for all of them with one
  // scale, and it itself otherwise.
  std::string as_read(const std::string& value) const;
  // Elements of what as_read() named, as the numbers that they stand for.
  void to_numbers(const std::string& name, std::vector<float>& elements) const;
  // Whether `value` stands between a layer and its bias or activation.
  bool is_inside(const std::string& value) const;
  // The node that a layer begins with, which `end` ends.
  const Node& beginning(const Node& end) const;
  // The value beside `value`, which the node `name` writes in the other network; nullopt: none.
  std::optional<std::string> counterpart(const std::string& name, const std::string& value) const;

 private:
  DriftGraph(Graph graph, ValueInfos infos);
  const Node& node(int i) const { return graph_.nodes[static_cast<size_t>(i)]; }
  bool ends_layer(const Node& node) const;
  const Node* sole_reader(const std::string& value, const char* op) const;

  Graph graph_;
  GraphIndex index_;
  ValueInfos infos_;  // of kDriftBatch images
};

// A network in our own runtime.
class DriftRunner {
 public:
  // Prepared as a Session prepares it.
  static Result<DriftRunner> create(const DriftSide& side);

  const DriftGraph& values() const { return values_; }
  ImageShape takes() const { return {adapter_.channels(), adapter_.height(), adapter_.width()}; }
  Status plan(std::vector<std::string> keep, int64_t batch);
  Status run(std::span<const uint8_t> pixels, int64_t count, const Executor::ShowValue& show);

 private:
  DriftRunner(SessionOptions options, InputAdapter adapter, DriftGraph values)
      : options_(std::move(options)), adapter_(std::move(adapter)), values_(std::move(values)) {}

  SessionOptions options_;
  InputAdapter adapter_;
  DriftGraph values_;
  std::optional<Executor> executor_;
};

struct DriftPair {
  DriftPoint point;
  std::string first;  // names of the two values
  std::string second;
  double signal = 0;
  double noise = 0;
};

// Float values of layers that both have, in the order of the first's nodes; as drift.h says.
// kInvalidArgument when there are none.
Result<std::vector<DriftPair>> pair_values(const DriftGraph& first, const DriftGraph& second);
// The names of one side, sorted, each once.
std::vector<std::string> names_of(const std::vector<DriftPair>& pairs,
                                  std::string DriftPair::*side);
// Takes in the numbers of one batch; kInternal when there are not as many of both.
Status add_difference(std::span<const float> a, std::span<const float> b, DriftPair& pair);
// The points, with their errors; kInternal when a value was never shown.
Result<std::vector<DriftPoint>> finish(std::vector<DriftPair> pairs);

}  // namespace pare

#endif  // PARE_MEASURE_DRIFT_PAIRS_H_
