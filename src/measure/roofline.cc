#include "measure/roofline.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "measure/ceilings.h"
#include "measure/rotation.h"
#include "runtime/executor.h"
#include "runtime/input_adapter.h"
#include "runtime/planner.h"

namespace pare {
namespace {

// What stands for zero in `value` of a prepared graph.
float zero_of(const Graph& graph, const GraphIndex& index, const std::string& value) {
  const int producer = index.producer(value);
  if (producer < 0) return 0;
  const Node& node = graph.nodes[static_cast<size_t>(producer)];
  if (node.op != "QuantizeLinear" || !node.has_input(2)) return 0;
  const Tensor* zero_point = graph.find_initializer(node.inputs[2]);
  return zero_point == nullptr ? 0 : to_float_vector(*zero_point)[0];
}

// Counts of one value over batches.
struct Count {
  float zero = 0;
  int64_t batch = 1;
  double elements = 0, not_zero = 0;
  double columns = 0, columns_not_zero = 0;

  void add(const Tensor& value) {
    const std::vector<float> numbers = to_float_vector(value);
    const size_t row = numbers.size() / static_cast<size_t>(batch);
    std::vector<bool> column(row, false);
    for (size_t i = 0; i < numbers.size(); ++i) {
      if (numbers[i] == zero) continue;
      ++not_zero;
      column[i % row] = true;
    }
    elements += static_cast<double>(numbers.size());
    columns += static_cast<double>(row);
    columns_not_zero += static_cast<double>(std::count(column.begin(), column.end(), true));
  }
};

Status run_batches(const Graph& prepared, const InputAdapter& adapter, Executor& executor,
                   Rotation& rotation, int64_t batch, int64_t runs,
                   std::map<std::string, Count>& counts) {
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(prepared, batch));
  const ValueInfo& info = infos.at(prepared.inputs[0].name);
  const auto count = [&counts](const std::string& name, const Tensor& value) {
    counts.at(name).add(value);
    return ok_status();
  };
  for (int64_t i = 0; i < runs; ++i) {
    Tensor input(info.type, info.shape);
    adapter.convert(rotation.next(), batch, input.mutable_data());
    PARE_RETURN_IF_ERROR(executor.run({&input, 1}, count).status());
  }
  return ok_status();
}

// Multiply-adds a microsecond that a layer can have at best.
double rate_of(const LayerPlan& layer, const LayerLimit& limit, const CeilingsRecord& ceilings) {
  if (!layer.skips_zero_weights || layer.least_weight_bytes == 0) {
    return macs_per_us(ceilings, layer.arithmetic);
  }
  const double weight_bytes = layer.arithmetic == "int8" ? 1 : 4;
  const double rows = limit.macs / (static_cast<double>(layer.least_weight_bytes) / weight_bytes);
  return sparse_macs_per_us(ceilings, layer.arithmetic, rows);
}

double share(double part, double whole) { return whole > 0 ? part / whole : 1; }

}  // namespace

Result<InputDensities> measure_input_densities(const Graph& graph, const SessionOptions& options,
                                               const std::vector<LayerPlan>& plan,
                                               const Dataset& images, int64_t batch) {
  std::vector<std::string> values;
  for (const LayerPlan& layer : plan) {
    if (!layer.skips_zeros_of.empty()) values.push_back(layer.skips_zeros_of);
  }
  if (values.empty()) return InputDensities();
  constexpr int64_t kImages = 64;
  PARE_ASSIGN_OR_RETURN(const ValueInfos one, infer_shapes(graph, 1));
  PARE_ASSIGN_OR_RETURN(const InputAdapter adapter,
                        InputAdapter::create(graph, one.at(graph.inputs[0].name)));
  PARE_ASSIGN_OR_RETURN(const Graph prepared, prepare_graph(graph));
  PARE_ASSIGN_OR_RETURN(Executor executor,
                        Executor::create(prepared, {.batch = batch,
                                                    .threads = options.threads,
                                                    .keep = values,
                                                    .cpu_level = options.cpu_level,
                                                    .precision = options.precision}));
  const GraphIndex index(prepared);
  std::map<std::string, Count> counts;
  for (const std::string& value : values) {
    counts[value] = {.zero = zero_of(prepared, index, value), .batch = batch};
  }
  PARE_ASSIGN_OR_RETURN(Rotation rotation, Rotation::create(images, kImages, batch));
  const int64_t runs = (std::min(kImages, rotation.images()) + batch - 1) / batch;
  PARE_RETURN_IF_ERROR(run_batches(prepared, adapter, executor, rotation, batch, runs, counts));
  InputDensities densities;
  for (const auto& [value, count] : counts) {
    densities[value] = {share(count.not_zero, count.elements),
                        share(count.columns_not_zero, count.columns)};
  }
  return densities;
}

const char* LayerLimit::bound() const {
  if (overhead_us > work_us()) return "overhead";
  return memory_us >= compute_us ? "memory" : "compute";
}

std::vector<LayerLimit> layer_limits(const std::vector<LayerPlan>& plan, int64_t batch,
                                     const CeilingsRecord& ceilings,
                                     const InputDensities& densities) {
  const auto threads = static_cast<double>(ceilings.threads);
  std::vector<LayerLimit> limits(plan.size());
  double held = 0;  // bytes that a run goes through from one end to the other
  for (size_t i = 0; i < plan.size(); ++i) {
    const LayerPlan& layer = plan[i];
    InputDensity density;
    if (const auto it = densities.find(layer.skips_zeros_of); it != densities.end()) {
      density = it->second;
    }
    LayerLimit& limit = limits[i];
    limit.weight_bytes = static_cast<double>(layer.least_weight_bytes) * density.columns;
    limit.activation_bytes = static_cast<double>(layer.activation_bytes);
    limit.macs = static_cast<double>(layer.macs) * static_cast<double>(batch) * density.elements;
    if (layer.skips_zero_weights) limit.macs *= layer.weight_density;
    held += limit.weight_bytes + limit.activation_bytes / static_cast<double>(layer.slices);
  }
  for (size_t i = 0; i < plan.size(); ++i) {
    LayerLimit& limit = limits[i];
    const auto slices = static_cast<double>(plan[i].slices);
    limit.weight_bytes *= slices;
    // In slices each core goes through activations of its own.
    const double at_once =
        slices > 1 ? limit.activation_bytes / slices * threads : limit.activation_bytes;
    limit.memory_us = limit.weight_bytes / read_bytes_per_us(ceilings, held) +
                      limit.activation_bytes / read_bytes_per_us(ceilings, at_once);
    limit.compute_us = limit.macs / rate_of(plan[i], limit, ceilings);
    limit.overhead_us = slices > 1 ? ceilings.step_us * slices / threads
                                   : ceilings.step_us + (threads > 1 ? ceilings.barrier_us : 0);
  }
  return limits;
}

double TimedPlan::total_us() const {
  return std::accumulate(times_us.begin(), times_us.end(), 0.0);
}

Result<TimedPlan> timed_plan(Session& session, const Graph& graph, const SessionOptions& options,
                             const Dataset& images, int64_t batch, std::vector<double> times_us,
                             const CeilingsRecord* ceilings) {
  TimedPlan timed = {.batch = batch, .threads = options.threads};
  timed.times_us = std::move(times_us);
  PARE_ASSIGN_OR_RETURN(timed.layers, session.plan(batch));
  if (timed.times_us.size() != timed.layers.size()) {
    return internal_error(fmt::format("{} steps, of which {} were timed", timed.layers.size(),
                                      timed.times_us.size()));
  }
  if (ceilings == nullptr) return timed;
  PARE_ASSIGN_OR_RETURN(const InputDensities densities,
                        measure_input_densities(graph, options, timed.layers, images, batch));
  timed.limits = layer_limits(timed.layers, batch, *ceilings, densities);
  return timed;
}

std::vector<LayerRecord> layer_records(const TimedPlan& plan, const ModelIdentity& id) {
  std::vector<LayerRecord> records(plan.layers.size());
  for (size_t i = 0; i < records.size(); ++i) {
    const LayerPlan& layer = plan.layers[i];
    const LayerLimit& limit = plan.limits[i];
    LayerRecord& r = records[i];
    r.id = id;
    r.name = layer.name;
    r.operation = layer.operation;
    r.kernel = layer.kernel;
    r.reason = layer.reason;
    if (layer.macs > 0) r.macs = layer.macs;
    if (layer.weight_bytes > 0) {
      r.weight_bytes = layer.weight_bytes;
      r.weight_density = layer.weight_density;
    }
    r.latency_us = plan.times_us[i];
    r.batch = plan.batch;
    r.threads = plan.threads;
    if (layer.macs > 0) r.arithmetic = layer.arithmetic.empty() ? "float32" : layer.arithmetic;
    r.work_macs = limit.macs;
    r.moved_bytes = limit.moved_bytes();
    r.limit_us = limit.limit_us();
    r.bound = limit.bound();
  }
  return records;
}

}  // namespace pare
