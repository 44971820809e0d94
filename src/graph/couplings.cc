#include "graph/couplings.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "graph/coupling_rules.h"

namespace pare {
namespace {

// --- Following the graph -------------------------------------------------------------------------

using SplitChoices = std::map<std::string, size_t>;

void place_inputs(const Graph& graph, const Inference& inference, Coupled& coupled) {
  for (const ValueInfo& input : graph.inputs) {
    std::vector<Places>& axes = coupled.axes[input.name];
    for (const int64_t size : inference.infos.at(input.name).shape) {
      axes.push_back(coupled.sets.fresh_axis(size));
      for (const Place place : axes.back()) coupled.sets.fix(place, "the model's input");
    }
  }
  for (const auto& [name, tensor] : graph.initializers) {
    std::vector<Places>& axes = coupled.axes[name];
    for (const int64_t size : tensor.shape()) {
      axes.push_back(coupled.sets.fresh_axis(size));
      if (is_floating(tensor.type())) continue;
      for (const Place place : axes.back())
        coupled.sets.fix(place, fmt::format("the integers of '{}'", name));
    }
  }
}

// What is all of an axis of some value stays: the part of a Split, say, may not become empty.
void fix_whole_axes(Coupled& coupled) {
  for (const auto& [value, axes] : coupled.axes) {
    for (const Places& places : axes) {
      if (places.empty()) continue;
      const Place first = coupled.sets.find(places[0]);
      const bool one = std::all_of(places.begin(), places.end(),
                                   [&](Place place) { return coupled.sets.find(place) == first; });
      if (one) coupled.sets.fix(first, fmt::format("all of an axis of '{}'", value));
    }
  }
}

Coupled follow(const Graph& graph, const GraphIndex& index, const Inference& inference,
               const SplitChoices& choices) {
  Coupled coupled;
  place_inputs(graph, inference, coupled);
  CouplingSite site(graph, index, inference, choices, coupled);
  for (const Node& node : graph.nodes) {
    site.move_to(node);
    find_coupling_rule(node)(site);
  }
  for (const ValueInfo& output : graph.outputs)
    for (const Places& places : coupled.axes.at(output.name))
      for (const Place place : places)
        coupled.sets.fix(place, fmt::format("the model's output '{}'", output.name));
  fix_whole_axes(coupled);
  return coupled;
}

bool all_fixed(Coupled& coupled, const Places& places) {
  return std::all_of(places.begin(), places.end(),
                     [&](Place place) { return coupled.sets.is_fixed(place); });
}

// Chooses, split by split in the graph's order, the first axis that may shrink in the end.
Coupled follow_with_best_splits(const Graph& graph, const Inference& inference) {
  const GraphIndex index(graph);
  SplitChoices choices;
  std::set<std::string> decided;
  Coupled coupled = follow(graph, index, inference, choices);
  for (const Node& node : graph.nodes) {
    for (;;) {
      const auto it = coupled.splits.find(node.name);
      if (it == coupled.splits.end() || !all_fixed(coupled, it->second.moving)) break;
      size_t& choice = choices[node.name];
      const bool last = choice + 1 >= it->second.choices;
      // None of them: as it was.
      choice = last ? 0 : choice + 1;
      coupled = follow(graph, index, inference, choices);
      if (last) break;
    }
  }
  return coupled;
}

// --- Groups --------------------------------------------------------------------------------------

struct Reader {
  const Node* node = nullptr;
  size_t input = 0;
};

std::map<std::string, Reader> first_readers(const Graph& graph) {
  std::map<std::string, Reader> readers;
  for (const Node& node : graph.nodes)
    for (size_t i = 0; i < node.inputs.size(); ++i)
      if (graph.initializers.contains(node.inputs[i]))
        readers.try_emplace(node.inputs[i], Reader{&node, i});
  return readers;
}

// The axis of outputs of a weight; -1 when it is none.
int output_axis(const Reader& reader, int rank) {
  if (reader.input != 1 || rank < 2) return -1;
  if (reader.node->op == "Conv") return 0;
  if (reader.node->op == "Gemm") return reader.node->int_attribute("transB", 0) != 0 ? 0 : 1;
  return reader.node->op == "MatMul" ? rank - 1 : -1;
}

WeightAxis::Role role_of(const Reader& reader, const Tensor& weight, int axis) {
  const int made = output_axis(reader, weight.rank());
  if (made < 0) return WeightAxis::Role::kOther;
  if (axis == made) return WeightAxis::Role::kMakes;
  const bool conv = reader.node->op == "Conv";
  const int summed = conv ? 1 : (made == 0 ? 1 : made - 1);
  return axis == summed ? WeightAxis::Role::kReads : WeightAxis::Role::kOther;
}

// Weights in the order of the nodes that read them, so that groups come in that order too.
std::vector<std::string> weights_in_order(const Graph& graph) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const Node& node : graph.nodes)
    for (const std::string& value : node.inputs) {
      const Tensor* tensor = graph.find_initializer(value);
      if (tensor != nullptr && is_floating(tensor->type()) && seen.insert(value).second)
        names.push_back(value);
    }
  return names;
}

struct FoundUnit {
  std::vector<std::pair<size_t, std::vector<int64_t>>> slices;  // axis number, indices
};

class GroupFinder {
 public:
  GroupFinder(const Graph& graph, Coupled& coupled) : graph_(graph), coupled_(coupled) {}

  Couplings run() {
    collect();
    form_groups();
    fill_units_along();
    name_fixed();
    return std::move(result_);
  }

 private:
  void collect() {
    const std::map<std::string, Reader> readers = first_readers(graph_);
    for (const std::string& name : weights_in_order(graph_)) {
      const Tensor& weight = graph_.initializers.at(name);
      const Reader& reader = readers.at(name);
      for (int axis = 0; axis < weight.rank(); ++axis) {
        const size_t number = axes_.size();
        axes_.push_back({name, axis, role_of(reader, weight, axis), reader.node->name});
        const Places& places = coupled_.axes.at(name)[static_cast<size_t>(axis)];
        for (size_t i = 0; i < places.size(); ++i) add(places[i], number, static_cast<int64_t>(i));
      }
    }
  }

  void add(Place place, size_t axis, int64_t index) {
    if (coupled_.sets.is_fixed(place)) return;
    const Place root = coupled_.sets.find(place);
    const auto [it, is_new] = units_.try_emplace(root);
    if (is_new) order_.push_back(root);
    auto& slices = it->second.slices;
    if (slices.empty() || slices.back().first != axis) slices.push_back({axis, {}});
    slices.back().second.push_back(index);
  }

  // Units along the same axes form a group, if a layer makes them.
  void form_groups() {
    std::map<std::vector<size_t>, size_t> by_axes;
    std::vector<std::vector<Place>> members;
    for (const Place root : order_) {
      std::vector<size_t> along;
      for (const auto& [axis, indices] : units_[root].slices) along.push_back(axis);
      if (!made_by_layer(along)) continue;
      const auto [it, is_new] = by_axes.try_emplace(along, members.size());
      if (is_new) {
        members.emplace_back();
        result_.groups.push_back(group_along(along));
      }
      members[it->second].push_back(root);
    }
    int32_t number = 0;
    for (size_t g = 0; g < members.size(); ++g) {
      result_.groups[g].first_unit = number;
      result_.groups[g].normalised_by = coupled_.sets.normalised_by(members[g][0]);
      for (const Place root : members[g]) {
        Unit& unit = result_.groups[g].units.emplace_back();
        for (auto& [axis, indices] : units_[root].slices) unit.indices.push_back(indices);
        unit_of_[root] = number++;
      }
    }
  }

  bool made_by_layer(const std::vector<size_t>& along) const {
    return std::any_of(along.begin(), along.end(),
                       [&](size_t axis) { return axes_[axis].role == WeightAxis::Role::kMakes; });
  }

  UnitGroup group_along(const std::vector<size_t>& along) const {
    UnitGroup group;
    for (const size_t axis : along) {
      group.axes.push_back(axes_[axis]);
      if (axes_[axis].role != WeightAxis::Role::kMakes) continue;
      group.name += (group.name.empty() ? "" : " + ") + axes_[axis].node;
    }
    return group;
  }

  void fill_units_along() {
    for (const auto& [value, axes] : coupled_.axes) {
      for (size_t axis = 0; axis < axes.size(); ++axis) {
        std::vector<int32_t> units;
        bool any = false;
        for (const Place place : axes[axis]) {
          const auto it = unit_of_.find(coupled_.sets.find(place));
          units.push_back(it == unit_of_.end() ? kNoUnit : it->second);
          any = any || units.back() != kNoUnit;
        }
        if (any) result_.units_along[value][static_cast<int>(axis)] = std::move(units);
      }
    }
  }

  void name_fixed() {
    for (const WeightAxis& axis : axes_) {
      if (axis.role != WeightAxis::Role::kMakes) continue;
      const Places& places = coupled_.axes.at(axis.weight)[static_cast<size_t>(axis.axis)];
      if (!places.empty() && all_fixed(coupled_, places))
        result_.fixed.push_back({axis.node, coupled_.sets.why_fixed(places[0])});
    }
  }

  const Graph& graph_;
  Coupled& coupled_;
  std::vector<WeightAxis> axes_;
  std::unordered_map<Place, FoundUnit> units_;  // by the set's root
  std::vector<Place> order_;
  std::unordered_map<Place, int32_t> unit_of_;
  Couplings result_;
};

}  // namespace

Result<Couplings> find_couplings(const Graph& graph) {
  PARE_ASSIGN_OR_RETURN(const Inference inference, infer_concrete(graph, 1));
  Coupled coupled = follow_with_best_splits(graph, inference);
  return GroupFinder(graph, coupled).run();
}

}  // namespace pare
