// The input contract as JSON, the form in which model files carry it. docs/file-formats.md lists
// the keys; a key that is absent means the default of InputContract.
#ifndef PARE_GRAPH_CONTRACT_H_
#define PARE_GRAPH_CONTRACT_H_

#include <string>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

std::string contract_to_json(const InputContract& contract);
// kCorrupt for anything that is not such an object, or that check_contract() refuses.
Result<InputContract> contract_from_json(const std::string& text);

// Whether the values are in range and fit each other; what a file states is read by commands before
// any session sees it.
Status check_contract(const InputContract& contract);

// What the graph's own input says, when a file states no contract: the size and layout of a uint8
// image. Of a floating input nothing but that is known, so height stays 0, "not stated".
InputContract contract_from_input(const Graph& graph);

}  // namespace pare

#endif  // PARE_GRAPH_CONTRACT_H_
