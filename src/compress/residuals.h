// Residual branches: x + f(x), whose f can go as a whole.
#ifndef PARE_COMPRESS_RESIDUALS_H_
#define PARE_COMPRESS_RESIDUALS_H_

#include <string>
#include <vector>

#include "graph/graph.h"

namespace pare {

struct Residual {
  std::string add;     // the node that adds
  size_t branch = 0;   // which of its inputs is f(x)
  std::string value;   // f(x)
  bool image = false;  // f(x) is [N, C, H, W], else [N, …, C]
};

// In the order of the nodes. An Add one of whose inputs is computed from the other, of one shape; a
// shortcut with a layer of its own is none. For a transformer that is each attention and each MLP,
// with its norm.
std::vector<Residual> find_residuals(const Graph& graph);

// x + constant in place of x + f(x); what only f needed is gone. `constant`: one value a channel.
Graph without_residual(Graph graph, const Residual& residual, const std::vector<float>& constant);

}  // namespace pare

#endif  // PARE_COMPRESS_RESIDUALS_H_
