#include "graph/passes.h"

namespace pare {

Result<Graph> simplify(Graph graph) {
  PARE_ASSIGN_OR_RETURN(graph, fold_shapes(std::move(graph)));
  PARE_ASSIGN_OR_RETURN(graph, drop_identities(std::move(graph)));
  PARE_ASSIGN_OR_RETURN(graph, fuse_layer_norm(std::move(graph)));
  PARE_ASSIGN_OR_RETURN(graph, fuse_gelu(std::move(graph)));
  return fold_batch_norm(std::move(graph));
}

Result<Graph> prepare_for_runtime(Graph graph) {
  PARE_ASSIGN_OR_RETURN(graph, simplify(std::move(graph)));
  PARE_ASSIGN_OR_RETURN(graph, fold_normalisation(std::move(graph)));
  return fuse_attention(std::move(graph));
}

}  // namespace pare
