// Making a graph narrower: couplings.h says what goes together, this takes it out.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "graph/couplings.h"

namespace pare {
namespace {

using AxisUnits = std::map<int, std::vector<int32_t>>;

std::vector<int64_t> kept_places(const std::vector<int32_t>& units,
                                 const std::vector<bool>& removed) {
  std::vector<int64_t> kept;
  for (size_t i = 0; i < units.size(); ++i)
    if (units[i] == kNoUnit || !removed[static_cast<size_t>(units[i])])
      kept.push_back(static_cast<int64_t>(i));
  return kept;
}

// The tensor at some places of an axis.
Tensor taken(const Tensor& tensor, int axis, const std::vector<int64_t>& places) {
  Shape shape = tensor.shape();
  const int64_t old_size = shape[static_cast<size_t>(axis)];
  shape[static_cast<size_t>(axis)] = static_cast<int64_t>(places.size());
  Tensor result(tensor.type(), shape);
  int64_t outer = 1;
  for (int i = 0; i < axis; ++i) outer *= tensor.dim(i);
  const int64_t row = outer * old_size == 0 ? 0 : tensor.byte_count() / (outer * old_size);
  const std::byte* from = tensor.data();
  std::byte* to = result.mutable_data();
  for (int64_t o = 0; o < outer; ++o)
    for (const int64_t place : places) {
      std::memcpy(to, from + (o * old_size + place) * row, static_cast<size_t>(row));
      to += row;
    }
  return result;
}

const AxisUnits* units_of(const Couplings& couplings, const std::string& value) {
  const auto it = couplings.units_along.find(value);
  return it == couplings.units_along.end() ? nullptr : &it->second;
}

class Remover {
 public:
  Remover(Graph graph, const Couplings& couplings, const std::vector<bool>& removed)
      : graph_(std::move(graph)), couplings_(couplings), removed_(removed) {}

  Result<Graph> run() {
    PARE_ASSIGN_OR_RETURN(before_, infer_shapes(graph_, 1));
    for (Node& node : graph_.nodes) {
      if (node.op == "Conv") follow_groups(node);
      if (node.op == "Reshape" || node.op == "Expand") PARE_RETURN_IF_ERROR(follow_target(node));
      if (node.op == "Split") follow_split(node);
    }
    for (auto& [name, tensor] : graph_.initializers)
      tensor = without_units(name, tensor, couplings_, removed_);
    remove_unused(graph_);
    PARE_RETURN_IF_ERROR(check_graph(graph_));
    return std::move(graph_);
  }

 private:
  bool shrinks(const std::string& value, int axis) const {
    const AxisUnits* units = units_of(couplings_, value);
    if (units == nullptr || !units->contains(axis)) return false;
    const std::vector<int32_t>& along = units->at(axis);
    return kept_places(along, removed_).size() < along.size();
  }
  int64_t size_left(const std::string& value, int axis) const {
    const std::vector<int32_t>& units = couplings_.units_along.at(value).at(axis);
    return static_cast<int64_t>(kept_places(units, removed_).size());
  }

  // Before weights are cut.
  void follow_groups(Node& node) const {
    const Tensor* weight = graph_.find_initializer(node.inputs[1]);
    if (weight == nullptr || node.int_attribute("group", 1) == 1) return;
    if (!shrinks(node.inputs[0], 1)) return;
    const int64_t columns =
        shrinks(node.inputs[1], 1) ? size_left(node.inputs[1], 1) : weight->dim(1);
    node.attributes["group"] = size_left(node.inputs[0], 1) / columns;
  }

  // A target of its own, for others may read the old one.
  Status follow_target(Node& node) {
    const Tensor* target = graph_.find_initializer(node.inputs[1]);
    if (target == nullptr) return ok_status();
    PARE_ASSIGN_OR_RETURN(std::vector<int64_t> sizes, to_int64_vector(*target));
    bool changed = false;
    for (size_t axis = 0; axis < sizes.size(); ++axis) {
      // 0 and -1 follow by themselves.
      if (sizes[axis] < 1 || !shrinks(node.outputs[0], static_cast<int>(axis))) continue;
      sizes[axis] = size_left(node.outputs[0], static_cast<int>(axis));
      changed = true;
    }
    if (changed) node.inputs[1] = add_integers(node.inputs[1], sizes);
    return ok_status();
  }

  void follow_split(Node& node) {
    const auto rank = static_cast<int>(before_.at(node.inputs[0]).shape.size());
    const auto stated = static_cast<int>(node.int_attribute("axis", 0));
    const int axis = stated < 0 ? stated + rank : stated;
    if (!shrinks(node.inputs[0], axis)) return;
    std::vector<int64_t> sizes;
    for (const std::string& part : node.outputs)
      sizes.push_back(shrinks(part, axis) ? size_left(part, axis)
                                          : before_.at(part).shape[static_cast<size_t>(axis)]);
    node.inputs.resize(1);
    node.attributes.erase("num_outputs");
    node.inputs.push_back(add_integers(node.name + ".sizes", sizes));
  }

  std::string add_integers(const std::string& stem, const std::vector<int64_t>& values) {
    std::string name = graph_.fresh_name(stem);
    graph_.initializers[name] =
        Tensor::from_values<int64_t>({static_cast<int64_t>(values.size())}, values);
    return name;
  }

  Graph graph_;
  const Couplings& couplings_;
  const std::vector<bool>& removed_;
  ValueInfos before_;
};

}  // namespace

Tensor without_units(const std::string& weight, const Tensor& tensor, const Couplings& couplings,
                     const std::vector<bool>& removed) {
  const AxisUnits* units = units_of(couplings, weight);
  Tensor result = tensor;
  if (units == nullptr) return result;
  for (const auto& [axis, along] : *units) {
    const std::vector<int64_t> kept = kept_places(along, removed);
    if (kept.size() < along.size()) result = taken(result, axis, kept);
  }
  return result;
}

Result<Graph> remove_units(const Graph& graph, const Couplings& couplings,
                           const std::vector<bool>& removed) {
  if (removed.size() != static_cast<size_t>(couplings.unit_count()))
    return invalid_argument(
        fmt::format("{} marks for {} units", removed.size(), couplings.unit_count()));
  for (const UnitGroup& group : couplings.groups) {
    const auto first = removed.begin() + group.first_unit;
    const auto count = static_cast<std::ptrdiff_t>(group.units.size());
    if (std::all_of(first, first + count, [](bool gone) { return gone; }))
      return invalid_argument(
          fmt::format("all {} units of '{}' would go: at least one must stay", count, group.name));
  }
  for (const auto& [value, axes] : couplings.units_along)
    for (const auto& [axis, units] : axes)
      if (kept_places(units, removed).empty())
        return invalid_argument(
            fmt::format("nothing of axis {} of '{}' would be left", axis, value));
  return Remover(graph, couplings, removed).run();
}

}  // namespace pare
