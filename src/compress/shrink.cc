#include "compress/shrink.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "compress/layers.h"
#include "compress/unit_readers.h"

namespace pare {
namespace {

using Role = WeightAxis::Role;
constexpr double kUnknown = std::numeric_limits<double>::infinity();

// f(weights at place p of the axis), added up place by place.
template <typename F>
std::vector<double> sums_along(const Tensor& weight, int axis, F f) {
  std::vector<double> sums(static_cast<size_t>(weight.dim(axis)), 0.0);
  for_each_weight(weight, axis, [&, values = weight.values<float>()](int64_t place, int64_t i) {
    sums[static_cast<size_t>(place)] += f(static_cast<double>(values[static_cast<size_t>(i)]));
  });
  return sums;
}

double square(double v) { return v * v; }
double magnitude(double v) { return std::fabs(v); }

// Whether the axis is that of a batch norm's γ.
bool is_batch_norm_scale(const Graph& graph, const WeightAxis& axis) {
  const auto node = std::find_if(graph.nodes.begin(), graph.nodes.end(),
                                 [&](const Node& n) { return n.name == axis.node; });
  return node != graph.nodes.end() && node->op == "BatchNormalization" &&
         node->inputs[1] == axis.weight;
}

// How much each unit of a group varies, from its weights alone; kUnknown where they do not say.
std::vector<double> strengths(const Graph& graph, const UnitGroup& group, Importance importance) {
  std::vector<double> strength(group.units.size(), 0.0);
  bool known = false;
  for (size_t a = 0; a < group.axes.size(); ++a) {
    const WeightAxis& axis = group.axes[a];
    const Tensor& weight = graph.initializers.at(axis.weight);
    const bool tells = importance == Importance::kBatchNorm ? is_batch_norm_scale(graph, axis)
                                                            : axis.role == Role::kMakes;
    if (!tells || weight.type() != DType::kFloat32) continue;
    known = true;
    const bool l1 = importance == Importance::kL1;
    const std::vector<double> sums = sums_along(weight, axis.axis, l1 ? magnitude : square);
    for (size_t u = 0; u < group.units.size(); ++u)
      for (const int64_t place : group.units[u].indices[a]) {
        const double sum = sums[static_cast<size_t>(place)];
        strength[u] += l1 ? square(sum) : sum;
      }
  }
  if (!known) std::fill(strength.begin(), strength.end(), kUnknown);
  return strength;
}

// s(p) for each place that a reader sums over; from the measured variances, or from the strengths
// of the units at the places. Places of no unit count as their mean.
std::vector<double> place_strengths(const std::vector<int32_t>& units,
                                    const std::vector<double>& by_unit) {
  double known_sum = 0;
  double known = 0;
  for (const int32_t unit : units) {
    if (unit == kNoUnit || by_unit[static_cast<size_t>(unit)] == kUnknown) continue;
    known_sum += by_unit[static_cast<size_t>(unit)];
    known += 1;
  }
  std::vector<double> result;
  for (const int32_t unit : units) {
    const double s = unit == kNoUnit ? kUnknown : by_unit[static_cast<size_t>(unit)];
    result.push_back(s != kUnknown ? s : known > 0 ? known_sum / known : 0.0);
  }
  return result;
}

// Adds what each unit has in this reader's sums.
void add_shares(const std::vector<double>& strength, const std::vector<double>& columns,
                const std::vector<int32_t>& units, std::vector<double>& damage) {
  // A grouped convolution reads place p with column p modulo its columns.
  double total = 0;
  std::vector<double> energy(units.size());
  for (size_t p = 0; p < units.size(); ++p) {
    energy[p] = strength[p] * columns[p % columns.size()];
    total += energy[p];
  }
  if (total <= 0) return;
  for (size_t p = 0; p < units.size(); ++p)
    if (units[p] != kNoUnit) damage[static_cast<size_t>(units[p])] += energy[p] / total;
}

}  // namespace

Importance importance_from_word(const std::string& word) {
  if (word == "l1") return Importance::kL1;
  if (word == "l2") return Importance::kL2;
  return word == "bn" ? Importance::kBatchNorm : Importance::kVariance;
}

Result<std::vector<double>> unit_damage(const Graph& graph, const Couplings& couplings,
                                        Importance importance,
                                        const std::map<std::string, Moments>& moments) {
  const auto units = static_cast<size_t>(couplings.unit_count());
  std::vector<double> damage(units, 0.0);
  std::vector<double> by_unit(units, kUnknown);
  if (importance != Importance::kVariance) {
    for (const UnitGroup& group : couplings.groups) {
      const std::vector<double> s = strengths(graph, group, importance);
      std::copy(s.begin(), s.end(), by_unit.begin() + group.first_unit);
    }
  }
  PARE_ASSIGN_OR_RETURN(const std::vector<UnitReader> readers, find_unit_readers(graph, couplings));
  for (const UnitReader& reader : readers) {
    const Tensor& weight = graph.initializers.at(reader.layer.weight);
    const std::vector<double> columns = sums_along(weight, reader.column_axis, square);
    add_shares(importance == Importance::kVariance ? moments.at(reader.layer.input).variance
                                                   : place_strengths(reader.units, by_unit),
               columns, reader.units, damage);
  }
  if (importance != Importance::kVariance)
    for (size_t u = 0; u < units; ++u)
      if (by_unit[u] == kUnknown) damage[u] = kUnknown;
  return damage;
}

}  // namespace pare
