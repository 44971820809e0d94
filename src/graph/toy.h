// Nodes and questions about them, for the tests of this room.
#ifndef PARE_GRAPH_TOY_H_
#define PARE_GRAPH_TOY_H_

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace pare::toy {

inline Node node(std::string op, std::string name, std::vector<std::string> inputs,
                 std::vector<std::string> outputs,
                 std::map<std::string, Attribute> attributes = {}) {
  return {.op = std::move(op),
          .name = std::move(name),
          .inputs = std::move(inputs),
          .outputs = std::move(outputs),
          .attributes = std::move(attributes)};
}

inline int count_op(const Graph& graph, const std::string& op) {
  return static_cast<int>(std::count_if(graph.nodes.begin(), graph.nodes.end(),
                                        [&](const Node& n) { return n.op == op; }));
}

}  // namespace pare::toy

#endif  // PARE_GRAPH_TOY_H_
