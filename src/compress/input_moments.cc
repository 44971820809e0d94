#include "compress/input_moments.h"

#include <fmt/format.h>

#include <cmath>
#include <set>
#include <utility>

#include "compress/calibrate.h"

namespace pare {
namespace {

struct Sums {
  int axis = -1;  // counted from the front; -1: the last
  std::vector<double> sum;
  std::vector<double> squares;
  int64_t count = 0;  // elements a place

  void add(const Tensor& value) {
    const int at = axis < 0 ? value.rank() - 1 : axis;
    const int64_t places = value.dim(at);
    sum.resize(static_cast<size_t>(places), 0);
    squares.resize(static_cast<size_t>(places), 0);
    for_each_weight(value, at, [&, values = value.values<float>()](int64_t place, int64_t i) {
      const double v = values[static_cast<size_t>(i)];
      sum[static_cast<size_t>(place)] += v;
      squares[static_cast<size_t>(place)] += v * v;
    });
    count += places == 0 ? 0 : value.size() / places;
  }
};

Result<Moments> finished(const std::string& name, const Sums& sums) {
  Moments moments;
  const auto n = static_cast<double>(sums.count);
  for (size_t i = 0; i < sums.sum.size(); ++i) {
    const double mean = sums.sum[i] / n;
    const double variance = std::fmax(sums.squares[i] / n - mean * mean, 0.0);
    if (!std::isfinite(mean) || !std::isfinite(variance))
      return numeric_error(
          fmt::format("value '{}' holds NaN or infinite elements on the calibration images", name));
    moments.mean.push_back(mean);
    moments.variance.push_back(variance);
  }
  return moments;
}

}  // namespace

Result<std::map<std::string, Moments>> measure_input_moments(const Graph& graph,
                                                             const std::vector<WeightLayer>& layers,
                                                             const Dataset& images,
                                                             const CompressContext& context) {
  std::map<std::string, Sums> sums;
  ForwardOptions options;
  options.batch_size = context.batch_size;
  options.threads = context.threads;
  std::set<std::string> known;
  for (const auto& [name, tensor] : graph.initializers) known.insert(name);
  for (const WeightLayer& layer : layers) {
    if (known.contains(layer.input)) continue;
    sums[layer.input].axis = layer.op == "Conv" ? 1 : -1;
  }
  for (const auto& [name, unused] : sums) options.keep.push_back(name);
  options.show = [&sums](const std::string& name, const Tensor& value) -> Status {
    if (value.type() != DType::kFloat32 || value.rank() < 2)
      return internal_error(fmt::format("value '{}' is {} of {}, expected float32 in rows", name,
                                        dtype_name(value.type()), shape_string(value.shape())));
    sums[name].add(value);
    return ok_status();
  };
  PARE_RETURN_IF_ERROR(forward(graph, images, options).status());
  std::map<std::string, Moments> moments;
  for (const auto& [name, of_value] : sums) {
    PARE_ASSIGN_OR_RETURN(moments[name], finished(name, of_value));
  }
  return moments;
}

}  // namespace pare
