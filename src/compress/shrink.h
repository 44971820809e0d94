// Shrinking: which units of a graph (graph/couplings.h) go, and what makes up for them.
//
// The damage of a unit is the share that it has in what its readers compute. Reader r sums over
// places p; unit u's share of it is
//   d_r(u) = Σ_{p of u} s(p) · ‖W_r[p]‖²  /  Σ_{all p} s(p) · ‖W_r[p]‖²
// where W_r[p] is all of r's weights at place p, and s says how much the place varies:
//   variance   its variance on calibration images: what a reader's output varies by and loses, if
//              places vary independently. It is what is left once the mean is moved into the bias.
//   l2         Σ w² of the weights that make the unit (He et al. 2018, "Soft Filter Pruning")
//   l1         (Σ |w|)² of them (Li et al. 2017, "Pruning Filters for Efficient ConvNets")
//   bn         γ² of its batch norm (Liu et al. 2017, "Network Slimming"); groups whose batch norm
//              was folded into the layer before it, as most are, keep all their units
// The damage is the sum over readers, so that units of all layers compare: one is a whole input.
// Another damage altogether, which needs no readers: unit_importance() of taylor.h.
// With weights at both ends, a ReLU layer that is scaled up and its reader down keep their damage.
//
// Units go where damage for what they save is least, a few at a time, until the budget is met.
// Reference for the saving as the measure: Molchanov et al. 2017 ("Pruning Convolutional Neural
// Networks for Resource Efficient Inference", FLOPs regularisation).
#ifndef PARE_COMPRESS_SHRINK_H_
#define PARE_COMPRESS_SHRINK_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "pare/status.h"

#include "compress/input_moments.h"
#include "graph/couplings.h"
#include "graph/graph.h"

namespace pare {

enum class Importance { kVariance, kL2, kL1, kBatchNorm };
// "variance", "l2", "l1", "bn".
Importance importance_from_word(const std::string& word);

// By unit number. `moments`: of the readers' inputs, for kVariance; may be empty otherwise.
// Infinity: the rule does not know the unit, which stays.
Result<std::vector<double>> unit_damage(const Graph& graph, const Couplings& couplings,
                                        Importance importance,
                                        const std::map<std::string, Moments>& moments);

struct ShrinkBudget {
  double macs = 1;        // share of the model's that may be left
  double parameters = 1;  // likewise
  double each = 0;        // share of every group's units that goes in any case
  double most = 1;        // of a group's units, the largest share that may go
  int64_t multiple = 1;   // widths that are left, in channels, are multiples of it
};

// True for each unit that goes. `may_go`: by group. kInvalidArgument, with what can be reached,
// when the budget cannot be met.
Result<std::vector<bool>> choose_units(const Graph& graph, const Couplings& couplings,
                                       const std::vector<double>& damage,
                                       const std::vector<bool>& may_go, const ShrinkBudget& budget);

// `shrunk`, with the means of the removed places, times the weights that read them, in the bias of
// each reader: b[o] += Σ_p mean(p) · Σ W[o, p, …]. Exact for the mean but where a convolution pads.
// `graph` is the one from before. Readers without a bias get one.
Result<Graph> move_means_into_biases(const Graph& graph, Graph shrunk, const Couplings& couplings,
                                     const std::vector<bool>& removed,
                                     const std::map<std::string, Moments>& moments);

}  // namespace pare

#endif  // PARE_COMPRESS_SHRINK_H_
