#include "compress/unit_costs.h"

#include <set>
#include <utility>

#include "graph/cost.h"

namespace pare {
namespace {

std::vector<int> all_axes(int rank) {
  std::vector<int> axes(static_cast<size_t>(rank));
  for (int i = 0; i < rank; ++i) axes[static_cast<size_t>(i)] = i;
  return axes;
}

}  // namespace

UnitCost UnitCosts::Term::now() const {
  double left = 1;
  for (const Axis& axis : axes)
    left *= static_cast<double>(axis.left) / static_cast<double>(axis.size);
  return {whole.macs * left, whole.parameters * left};
}

void UnitCosts::add_term(UnitCost whole, const Couplings& couplings,
                         const std::vector<std::string>& values,
                         const std::vector<std::vector<int>>& axes) {
  const size_t number = terms_.size();
  Term& term = terms_.emplace_back();
  term.whole = whole;
  for (size_t v = 0; v < values.size(); ++v) {
    const auto found = couplings.units_along.find(values[v]);
    if (found == couplings.units_along.end()) continue;
    for (const int axis : axes[v]) {
      const auto along = found->second.find(axis);
      if (along == found->second.end()) continue;
      const auto size = static_cast<int64_t>(along->second.size());
      std::map<int32_t, int64_t> places;
      for (const int32_t unit : along->second)
        if (unit != kNoUnit) ++places[unit];
      for (const auto& [unit, count] : places)
        parts_[static_cast<size_t>(unit)].push_back({number, term.axes.size(), count});
      term.axes.push_back({size, size});
    }
  }
}

Result<UnitCosts> UnitCosts::create(const Graph& graph, const Couplings& couplings) {
  PARE_ASSIGN_OR_RETURN(const std::vector<NodeCost> costs, node_costs(graph));
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph, 1));
  UnitCosts result;
  result.parts_.resize(static_cast<size_t>(couplings.unit_count()));
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (costs[i].macs == 0) continue;
    const Node& node = graph.nodes[i];
    const int rank = static_cast<int>(infos.at(node.inputs[1]).shape.size());
    const UnitCost whole = {static_cast<double>(costs[i].macs), 0};
    if (node.op == "MatMul") {
      // Rows and sums from the first factor, columns from the second.
      const int rows = static_cast<int>(infos.at(node.inputs[0]).shape.size());
      result.add_term(whole, couplings, {node.inputs[0], node.inputs[1]},
                      {all_axes(rows), {rank - 1}});
    } else {
      result.add_term(whole, couplings, {node.inputs[1]}, {all_axes(rank)});
    }
  }
  for (const std::string& weight : weight_initializers(graph)) {
    const Tensor& tensor = graph.initializers.at(weight);
    result.add_term({0, static_cast<double>(tensor.size())}, couplings, {weight},
                    {all_axes(tensor.rank())});
  }
  return result;
}

UnitCost UnitCosts::total() const {
  UnitCost sum;
  for (const Term& term : terms_) {
    const UnitCost now = term.now();
    sum.macs += now.macs;
    sum.parameters += now.parameters;
  }
  return sum;
}

void UnitCosts::shift(std::span<const int32_t> units, int64_t sign) {
  for (const int32_t unit : units)
    for (const Part& part : parts_[static_cast<size_t>(unit)])
      terms_[part.term].axes[part.axis].left += sign * part.places;
}

UnitCost UnitCosts::saving(std::span<const int32_t> units) {
  std::set<size_t> touched;
  for (const int32_t unit : units)
    for (const Part& part : parts_[static_cast<size_t>(unit)]) touched.insert(part.term);
  UnitCost saved;
  const auto add_up = [&](double sign) {
    for (const size_t term : touched) {
      const UnitCost now = terms_[term].now();
      saved.macs += sign * now.macs;
      saved.parameters += sign * now.parameters;
    }
  };
  add_up(1);
  shift(units, -1);
  add_up(-1);
  shift(units, 1);
  return saved;
}

void UnitCosts::remove(std::span<const int32_t> units) { shift(units, -1); }

}  // namespace pare
