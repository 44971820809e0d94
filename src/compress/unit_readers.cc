#include "compress/unit_readers.h"

#include <utility>

namespace pare {
namespace {

const std::vector<int32_t>* units_along(const Couplings& couplings, const std::string& value,
                                        int axis) {
  const auto found = couplings.units_along.find(value);
  if (found == couplings.units_along.end()) return nullptr;
  const auto along = found->second.find(axis);
  return along == found->second.end() ? nullptr : &along->second;
}

}  // namespace

Result<std::vector<UnitReader>> find_unit_readers(const Graph& graph, const Couplings& couplings) {
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph, 1));
  std::vector<UnitReader> readers;
  for (WeightLayer& layer : find_weight_layers(graph)) {
    const bool conv = layer.op == "Conv";
    if (graph.find_initializer(layer.input) != nullptr) continue;  // no image changes it
    if (graph.nodes[static_cast<size_t>(layer.node)].int_attribute("transA", 0) != 0) continue;
    const auto rank = static_cast<int>(infos.at(layer.input).shape.size());
    const std::vector<int32_t>* units = units_along(couplings, layer.input, conv ? 1 : rank - 1);
    if (units == nullptr) continue;
    UnitReader reader;
    reader.column_axis = conv ? 1 : 1 - layer.channel_axis;
    const bool grouped = static_cast<int64_t>(units->size()) !=
                         graph.initializers.at(layer.weight).dim(reader.column_axis);
    if (grouped && units_along(couplings, layer.weight, reader.column_axis) == nullptr) continue;
    reader.units = *units;
    reader.layer = std::move(layer);
    readers.push_back(std::move(reader));
  }
  return readers;
}

}  // namespace pare
