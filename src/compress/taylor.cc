#include "compress/taylor.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "compress/layers.h"

namespace pare {
namespace {

using Gradients = std::map<std::string, Tensor>;

// Calls `take` for each batch; returns how many there were.
Result<int64_t> each_batch(const Graph& graph, const Dataset& images,
                           const CompressContext& context,
                           const std::function<Status(const Gradients&)>& take) {
  int64_t batches = 0;
  PARE_RETURN_IF_ERROR(
      context.trainer->gradients(graph, images, {.seed = context.seed, .threads = context.threads},
                                 [&](const Gradients& gradients) {
                                   ++batches;
                                   return take(gradients);
                                 }));
  return batches;
}

// What `axis` of a weight has at each of its places: Σ g·w.
std::vector<double> products_along(const Tensor& weight, const Tensor& gradient, int axis) {
  std::vector<double> sums(static_cast<size_t>(weight.dim(axis)), 0.0);
  const auto w = weight.values<float>();
  const auto g = gradient.values<float>();
  for_each_weight(weight, axis, [&](int64_t place, int64_t i) {
    const auto at = static_cast<size_t>(i);
    sums[static_cast<size_t>(place)] += static_cast<double>(w[at]) * static_cast<double>(g[at]);
  });
  return sums;
}

Status no_gradient(const std::string& weight) {
  return unsupported(
      fmt::format("weight '{}' has no gradient: training leaves it as it is", weight));
}

// Adds Σ g·w of one batch to the sums of a group's units.
Status add_products(const Graph& graph, const UnitGroup& group, const Gradients& gradients,
                    std::vector<double>& sums) {
  for (size_t a = 0; a < group.axes.size(); ++a) {
    const WeightAxis& axis = group.axes[a];
    // What is not learned (a constant that scales) has no gradient, and goes for nothing.
    const auto gradient = gradients.find(axis.weight);
    if (axis.role == WeightAxis::Role::kReads) continue;
    if (gradient == gradients.end()) {
      if (axis.role == WeightAxis::Role::kMakes) return no_gradient(axis.weight);
      continue;
    }
    const std::vector<double> products =
        products_along(graph.initializers.at(axis.weight), gradient->second, axis.axis);
    for (size_t u = 0; u < group.units.size(); ++u)
      for (const int64_t place : group.units[u].indices[a])
        sums[static_cast<size_t>(group.first_unit) + u] += products[static_cast<size_t>(place)];
  }
  return ok_status();
}

}  // namespace

Result<std::map<std::string, Tensor>> weight_importance(const Graph& graph,
                                                        const std::vector<std::string>& weights,
                                                        const Dataset& images,
                                                        const CompressContext& context) {
  std::map<std::string, Tensor> importance;
  for (const std::string& name : weights)
    importance[name] = Tensor(DType::kFloat32, graph.initializers.at(name).shape());
  PARE_ASSIGN_OR_RETURN(const int64_t batches,
                        each_batch(graph, images, context, [&](const Gradients& gradients) {
                          for (auto& [name, sums] : importance) {
                            const auto found = gradients.find(name);
                            if (found == gradients.end()) return no_gradient(name);
                            const auto w = graph.initializers.at(name).values<float>();
                            const auto g = found->second.values<float>();
                            const auto sum = sums.mutable_values<float>();
                            for (size_t i = 0; i < w.size(); ++i)
                              sum[i] += (g[i] * w[i]) * (g[i] * w[i]);
                          }
                          return ok_status();
                        }));
  for (auto& [name, sums] : importance)
    for (float& v : sums.mutable_values<float>()) {
      v = std::sqrt(v / static_cast<float>(batches));
      if (!std::isfinite(v))
        return numeric_error(fmt::format("the gradients of weight '{}' are not finite", name));
    }
  return importance;
}

Result<std::vector<double>> unit_importance(const Graph& graph, const Couplings& couplings,
                                            const Dataset& images, const CompressContext& context) {
  const auto units = static_cast<size_t>(couplings.unit_count());
  std::vector<double> importance(units, 0.0);
  PARE_ASSIGN_OR_RETURN(const int64_t batches,
                        each_batch(graph, images, context, [&](const Gradients& gradients) {
                          std::vector<double> sums(units, 0.0);
                          for (const UnitGroup& group : couplings.groups)
                            PARE_RETURN_IF_ERROR(add_products(graph, group, gradients, sums));
                          for (size_t u = 0; u < units; ++u) importance[u] += sums[u] * sums[u];
                          return ok_status();
                        }));
  for (double& v : importance) {
    v /= static_cast<double>(batches);
    if (!std::isfinite(v)) return numeric_error("the gradients of the model are not finite");
  }
  return importance;
}

}  // namespace pare
