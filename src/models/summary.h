// A graph as people read it: one row a layer, with its output's shape, parameters and MACs.
//
// Rows are made of nodes: convolutions, dense layers, norms, pools, dropout, flatten and residual
// additions have one each; biases, activations and whatever else stands between belong to the row
// before, and all of an attention (the nodes whose name has the part "attn") is one row. Nothing is
// lost: a hidden node's parameters and MACs are added to its row's.
#ifndef PARE_MODELS_SUMMARY_H_
#define PARE_MODELS_SUMMARY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

struct SummaryRow {
  std::string name;    // "conv1"
  std::string layer;   // "conv 11×11×64, no padding, ReLU"
  std::string output;  // one image's: "22×22×64" (height, width, channels), "25×64", "4,096"
  int64_t parameters = 0;
  int64_t macs = 0;  // for one image
};

struct Summary {
  std::string input;  // "32×32×3"
  std::vector<SummaryRow> rows;
  int64_t parameters = 0;
  int64_t macs = 0;
  int64_t weight_bytes = 0;  // of the parameters as they are stored
};

Result<Summary> summarise(const Graph& graph);

}  // namespace pare

#endif  // PARE_MODELS_SUMMARY_H_
