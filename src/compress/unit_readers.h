// Unit readers: the weight layers that sum over units which may go.
#ifndef PARE_COMPRESS_UNIT_READERS_H_
#define PARE_COMPRESS_UNIT_READERS_H_

#include <cstdint>
#include <vector>

#include "pare/status.h"

#include "compress/layers.h"
#include "graph/couplings.h"
#include "graph/graph.h"

namespace pare {

struct UnitReader {
  WeightLayer layer;
  // The unit, or kNoUnit, at each place of the axis of its input that it sums over. More places
  // than the weight has columns: a grouped convolution, which reads place p with column p modulo
  // their number.
  std::vector<int32_t> units;
  int column_axis = 0;  // of the weight
};

// In the order of the nodes. Convolutions whose groups go as a whole are none: what they read takes
// along what they make of it.
Result<std::vector<UnitReader>> find_unit_readers(const Graph& graph, const Couplings& couplings);

}  // namespace pare

#endif  // PARE_COMPRESS_UNIT_READERS_H_
