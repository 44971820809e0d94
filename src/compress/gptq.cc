#include "compress/gptq.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/rounding.h"

namespace pare {
namespace {

std::vector<int64_t> rounding_order(std::span<const double> gram, int64_t k, bool by_activity) {
  std::vector<int64_t> order(static_cast<size_t>(k));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (by_activity)
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return gram[static_cast<size_t>(a * k + a)] > gram[static_cast<size_t>(b * k + b)];
    });
  return order;
}

}  // namespace

Result<GptqRounded> gptq_round(std::span<const float> weights, int64_t rows, int64_t k,
                               std::span<const double> gram, std::span<const float> scales,
                               const GptqOptions& options, ThreadPool& pool) {
  const int64_t width = options.scale_group > 0 ? options.scale_group : k;
  const int64_t groups = k > 0 ? (k + width - 1) / width : 0;
  if (rows < 1 || k < 1 || static_cast<int64_t>(weights.size()) != rows * k ||
      static_cast<int64_t>(gram.size()) != k * k ||
      static_cast<int64_t>(scales.size()) != rows * groups)
    return invalid_argument(fmt::format(
        "gptq: {} outputs of {} inputs with {} scales each need {} weights, {} products and {} "
        "scales, found {}, {} and {}",
        rows, k, groups, rows * k, k * k, rows * groups, weights.size(), gram.size(),
        scales.size()));
  const std::vector<int64_t> order = rounding_order(gram, k, options.by_activity);
  PARE_ASSIGN_OR_RETURN(const InverseFactor factor,
                        invert_gram(gram, k, order, options.damping, pool));
  std::vector<float> sorted(weights.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < k; ++c)
      sorted[static_cast<size_t>(r * k + c)] =
          weights[static_cast<size_t>(r * k + order[static_cast<size_t>(c)])];
  GptqRounded rounded;
  rounded.values.assign(weights.size(), 0);
  ColumnRule rule;
  rule.settle = [&](int64_t row, int64_t column, float w) {
    const int64_t input = order[static_cast<size_t>(column)];
    const auto at = static_cast<size_t>(row * k + input);
    if (weights[at] == 0.0F) return 0.0F;
    const float scale = scales[static_cast<size_t>(row * groups + input / width)];
    const int32_t q = quantise(w, scale, 0, options.lowest, options.highest);
    rounded.values[at] = static_cast<int8_t>(q);
    return dequantise(q, scale, 0);
  };
  const std::vector<double> cost = settle_columns(sorted, rows, factor, rule, pool);
  rounded.cost = std::accumulate(cost.begin(), cost.end(), 0.0);
  return rounded;
}

Result<GptqRounded> gptq_round_layer(std::span<const float> weights, const InputStatistics& inputs,
                                     std::span<const float> scales, const GptqOptions& options,
                                     ThreadPool& pool) {
  const WeightMatrix& shape = inputs.shape;
  const auto parts = static_cast<size_t>(shape.groups);
  if (inputs.gram.size() != parts || weights.size() % parts != 0 || scales.size() % parts != 0)
    return invalid_argument(
        fmt::format("gptq: {} Gram matrices, {} weights and {} scales for {} groups",
                    inputs.gram.size(), weights.size(), scales.size(), parts));
  GptqRounded all;
  for (size_t g = 0; g < parts; ++g) {
    const size_t size = weights.size() / parts;
    const size_t own_scales = scales.size() / parts;
    PARE_ASSIGN_OR_RETURN(
        const GptqRounded one,
        gptq_round(weights.subspan(g * size, size), shape.outputs_of_group(), shape.k,
                   inputs.gram[g], scales.subspan(g * own_scales, own_scales), options, pool));
    all.values.insert(all.values.end(), one.values.begin(), one.values.end());
    all.cost += one.cost;
  }
  return all;
}

RoundWeights gptq_rounding(InputSource& inputs, ThreadPool& pool) {
  return [&inputs, &pool](const RoundingTask& task) -> Result<std::vector<int8_t>> {
    PARE_ASSIGN_OR_RETURN(const InputStatistics* seen, inputs.at(task.layer->weight));
    GptqOptions options;
    options.lowest = task.lowest;
    options.highest = task.highest;
    options.scale_group = task.group;
    Result<GptqRounded> rounded = gptq_round_layer(task.weights, *seen, task.scales, options, pool);
    if (!rounded.ok())
      return rounded.status().with_context(fmt::format("layer '{}'", task.layer->name));
    return std::move(rounded->values);
  };
}

}  // namespace pare
