// Tuning: which kernel was measured to be the fastest for each layer of a model, on one machine.
//
// The choice travels in the graph's metadata under "tuned kernels" and counts where processor, its
// instruction sets and Pare's version are those it was measured with; elsewhere the planner chooses
// as it always does. A kernel that cannot run a problem, or refuses it, is not taken either.
// As text: a line that names processor, instruction sets and version; then a line a layer, its
// name, a tab, the kernel's name.
#ifndef PARE_RUNTIME_TUNING_H_
#define PARE_RUNTIME_TUNING_H_

#include <map>
#include <string>

#include "graph/graph.h"

namespace pare {

using KernelTuning = std::map<std::string, std::string>;  // layer -> kernel

// Puts the choice into the graph, as one of this machine; an empty one removes what is there.
void store_tuning(const KernelTuning& tuning, Graph& graph);
// The choice in the graph; empty when there is none, or it is another machine's.
KernelTuning stored_tuning(const Graph& graph);

}  // namespace pare

#endif  // PARE_RUNTIME_TUNING_H_
