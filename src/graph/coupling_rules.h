// What each operator couples; behind couplings.h.
//
// A rule reads the places along its inputs' axes, unites or fixes them, and says which stand along
// its outputs' axes. It sees sizes for one image.
#ifndef PARE_GRAPH_COUPLING_RULES_H_
#define PARE_GRAPH_COUPLING_RULES_H_

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "graph/graph.h"
#include "graph/operators.h"

namespace pare {

using Place = int32_t;
using Places = std::vector<Place>;  // along one axis

// Sets of places that go together (union by size, paths halved).
class PlaceSets {
 public:
  Place fresh();
  Places fresh_axis(int64_t size);
  Place find(Place place);
  void unite(Place a, Place b);
  // The set stays in the model; the first reason is kept.
  void fix(Place place, const std::string& why);
  bool is_fixed(Place place) { return sets_[index(find(place))].fixed; }
  const std::string& why_fixed(Place place) { return sets_[index(find(place))].why; }
  void normalise(Place place, const std::string& node);
  const std::string& normalised_by(Place place) { return sets_[index(find(place))].normalised_by; }

 private:
  struct Set {
    Place parent = 0;
    int32_t size = 1;
    bool fixed = false;
    std::string why;
    std::string normalised_by;
  };
  static size_t index(Place place) { return static_cast<size_t>(place); }
  std::vector<Set> sets_;
};

// A Reshape that splits an axis: of the new axes, `choice` shrinks; the others are fixed.
struct AxisSplit {
  size_t choices = 0;
  Places moving;  // places along the axis that shrinks
};

struct Coupled {
  PlaceSets sets;
  std::unordered_map<std::string, std::vector<Places>> axes;  // by value
  std::map<std::string, AxisSplit> splits;                    // by node
};

// What a rule sees of its node.
class CouplingSite {
 public:
  CouplingSite(const Graph& graph, const GraphIndex& index, const Inference& inference,
               const std::map<std::string, size_t>& split_choices, Coupled& coupled)
      : graph_(graph),
        index_(index),
        inference_(inference),
        split_choices_(split_choices),
        coupled_(coupled) {}

  void move_to(const Node& node) { node_ = &node; }

  const Node& node() const { return *node_; }
  const Graph& graph() const { return graph_; }
  const GraphIndex& index() const { return index_; }
  const Inference& inference() const { return inference_; }
  PlaceSets& sets() { return coupled_.sets; }
  Coupled& coupled() { return coupled_; }
  size_t split_choice() const;

  size_t inputs() const { return node_->inputs.size(); }
  bool has(size_t i) const { return node_->has_input(i); }
  const std::vector<Places>& in(size_t i) const { return coupled_.axes.at(node_->inputs[i]); }
  const Shape& in_shape(size_t i) const { return inference_.infos.at(node_->inputs[i]).shape; }
  const Shape& out_shape(size_t i) const { return inference_.infos.at(node_->outputs[i]).shape; }
  bool is_constant(size_t i) const { return graph_.find_initializer(node_->inputs[i]) != nullptr; }
  void set_out(size_t i, std::vector<Places> axes);

  void unite(const Places& a, const Places& b);  // of one size
  void fix(const Places& places);                // for this node's sake
  Places fixed_axis(int64_t size);
  // Nothing is known of the node: whatever it touches stays.
  void fix_everything();

 private:
  std::string where() const;

  const Graph& graph_;
  const GraphIndex& index_;
  const Inference& inference_;
  const std::map<std::string, size_t>& split_choices_;
  Coupled& coupled_;
  const Node* node_ = nullptr;
};

using CouplingRule = void (*)(CouplingSite& site);
// fix_everything for an operator without a rule.
CouplingRule find_coupling_rule(const Node& node);

// The rules, by family.
void couple_convolution(CouplingSite& site);
void couple_gemm(CouplingSite& site);
void couple_matmul(CouplingSite& site);
void couple_batch_norm(CouplingSite& site);
void couple_layer_norm(CouplingSite& site);
void couple_lrn(CouplingSite& site);
void couple_window(CouplingSite& site);
void couple_reduction(CouplingSite& site);
void couple_elementwise(CouplingSite& site);
void couple_softmax(CouplingSite& site);
void couple_reshape(CouplingSite& site);
void couple_transpose(CouplingSite& site);
void couple_concat(CouplingSite& site);
void couple_split(CouplingSite& site);
void couple_slice(CouplingSite& site);
void couple_gather(CouplingSite& site);
void couple_expand(CouplingSite& site);
void couple_pad(CouplingSite& site);
void couple_shape(CouplingSite& site);

}  // namespace pare

#endif  // PARE_GRAPH_COUPLING_RULES_H_
