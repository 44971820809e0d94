// Scope: which weight layers a method may touch.
//
//   all      every weight layer
//   encoder  those on a residual branch: for an addition of two computed values, a layer is on a
//            branch if one of the two depends on it and the other does not. In a ViT these are the
//            matrices of its blocks, without patch embedding and head; in a ResNet the convolutions
//            of its blocks, projections of a shortcut included, without stem and classifier.
#ifndef PARE_COMPRESS_SCOPE_H_
#define PARE_COMPRESS_SCOPE_H_

#include <set>
#include <string>
#include <vector>

#include "pare/status.h"

#include "compress/layers.h"
#include "graph/graph.h"

namespace pare {

// Nodes on a residual branch, as indices into graph.nodes.
std::set<int> residual_branches(const Graph& graph);

// The layers of find_weight_layers() that scope ("all" or "encoder"), `only` (all, if empty) and
// `skip` leave, one for each weight. `method` is for messages. kInvalidArgument for a name that is
// no layer's, one that the scope excludes, and where nothing is left.
Result<std::vector<WeightLayer>> layers_in_scope(const Graph& graph, const std::string& method,
                                                 const std::string& scope,
                                                 const std::vector<std::string>& only,
                                                 const std::vector<std::string>& skip);

}  // namespace pare

#endif  // PARE_COMPRESS_SCOPE_H_
