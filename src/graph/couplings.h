// Couplings: which parts of a model's weights can only be removed together.
//
// Every index along every axis of every value is a place. Each operator says which places belong
// together: a convolution's output channel is a row of its weight, a bias and a column of each
// weight that reads it; a sum couples both its branches; a reshape spreads a channel over h·w
// inputs, or gathers the columns of an attention head. Places that end up together form a unit: a
// channel, a dense unit, a head, a column of an MLP. Units whose places lie along the same axes
// form a group, from which any number but all may go.
//
// What no rule follows is fixed, and with it everything that is coupled to it: the model's inputs
// and outputs, pixels and tokens, axes that are sliced, gathered, reduced or run through softmax.
//
// Grouped convolutions: where there are at least as many groups as inputs in one (depthwise ones
// among them) a whole group is a unit, with its inputs and outputs; where there are fewer, the same
// channel of every group is, so that groups stay of one size.
// A reshape that splits an axis into several lets the first of them shrink that nothing behind it
// fixes: of [3, heads, width] that is the heads.
//
// The idea of a dependency graph is Fang et al. 2023, "DepGraph: Towards Any Structural Pruning";
// coupling single places instead of layers needs no case for concatenation, for flattening or for
// fused projections.
#ifndef PARE_GRAPH_COUPLINGS_H_
#define PARE_GRAPH_COUPLINGS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/tensor.h"
#include "graph/graph.h"

namespace pare {

// An axis of a floating initializer, and what its places are to the node that reads it.
struct WeightAxis {
  enum class Role {
    kMakes,  // output channels of a Conv, Gemm or MatMul
    kReads,  // what it sums over
    kOther,  // biases, norms, tokens
  };
  std::string weight;
  int axis = 0;
  Role role = Role::kOther;
  std::string node;  // the first that reads it
};

struct Unit {
  // For each of its group's axes, ascending.
  std::vector<std::vector<int64_t>> indices;
};

struct UnitGroup {
  std::string name;  // the layers that make the units: "conv1", "layer1.0.conv2 + conv1"
  std::vector<WeightAxis> axes;
  std::vector<Unit> units;
  int32_t first_unit = 0;  // number of its first unit, counted through all groups
  // The node, if any, that normalises over these units (LayerNormalization, LRN): without some of
  // them the others are no longer scaled as before, whatever the removed ones held.
  std::string normalised_by;
};

struct FixedLayer {
  std::string layer;
  std::string why;
};

inline constexpr int32_t kNoUnit = -1;

struct Couplings {
  std::vector<UnitGroup> groups;  // in the order of the nodes that make them
  // Weight layers none of whose outputs can go.
  std::vector<FixedLayer> fixed;
  // For each axis of a value, weights among them, that can become shorter: the number of the unit
  // at each index, or kNoUnit.
  std::map<std::string, std::map<int, std::vector<int32_t>>> units_along;

  int32_t unit_count() const {
    return groups.empty()
               ? 0
               : groups.back().first_unit + static_cast<int32_t>(groups.back().units.size());
  }
};

// kInvalidArgument, as infer_shapes says it, for a graph whose shapes do not fit.
Result<Couplings> find_couplings(const Graph& graph);

// The graph without the units of which `removed` (by number) is true. Weights lose slices; targets
// of Reshape and Expand, sizes of Split and groups of Conv follow. `graph` is the one the couplings
// were found in, or one with the same nodes and other weights. kInvalidArgument when a group would
// lose all its units.
Result<Graph> remove_units(const Graph& graph, const Couplings& couplings,
                           const std::vector<bool>& removed);

// What remove_units does to one initializer; for tensors that lie over it, such as masks.
Tensor without_units(const std::string& weight, const Tensor& tensor, const Couplings& couplings,
                     const std::vector<bool>& removed);

}  // namespace pare

#endif  // PARE_GRAPH_COUPLINGS_H_
