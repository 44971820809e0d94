// Unit costs: what a graph's units hold and compute, while they go one after the other.
//
// A product's MACs and a weight's elements are proportional to how much is left of each of their
// axes, so nothing has to be rebuilt to know what a removal saves.
#ifndef PARE_COMPRESS_UNIT_COSTS_H_
#define PARE_COMPRESS_UNIT_COSTS_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "pare/status.h"

#include "graph/couplings.h"
#include "graph/graph.h"

namespace pare {

struct UnitCost {
  double macs = 0;  // for one image
  double parameters = 0;
};

class UnitCosts {
 public:
  static Result<UnitCosts> create(const Graph& graph, const Couplings& couplings);

  // Of the whole model, as it is now.
  UnitCost total() const;
  // What total() loses when these units go too.
  UnitCost saving(std::span<const int32_t> units);
  void remove(std::span<const int32_t> units);

 private:
  struct Axis {
    int64_t size = 0;
    int64_t left = 0;
  };
  struct Term {  // a product or a weight
    UnitCost whole;
    std::vector<Axis> axes;
    UnitCost now() const;
  };
  struct Part {  // of an axis that belongs to a unit
    size_t term = 0;
    size_t axis = 0;
    int64_t places = 0;
  };

  void add_term(UnitCost whole, const Couplings& couplings, const std::vector<std::string>& values,
                const std::vector<std::vector<int>>& axes);
  void shift(std::span<const int32_t> units, int64_t sign);

  std::vector<Term> terms_;
  std::vector<std::vector<Part>> parts_;  // by unit
};

}  // namespace pare

#endif  // PARE_COMPRESS_UNIT_COSTS_H_
