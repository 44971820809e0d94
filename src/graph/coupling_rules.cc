#include "graph/coupling_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace pare {
namespace {

using RuleTable = std::unordered_map<std::string_view, CouplingRule>;

const RuleTable& rules() {
  static const RuleTable table = [] {
    RuleTable made = {
        {"Conv", couple_convolution},
        {"Gemm", couple_gemm},
        {"MatMul", couple_matmul},
        {"BatchNormalization", couple_batch_norm},
        {"LayerNormalization", couple_layer_norm},
        {"LRN", couple_lrn},
        {"MaxPool", couple_window},
        {"AveragePool", couple_window},
        {"GlobalAveragePool", couple_window},
        {"GlobalMaxPool", couple_window},
        {"Softmax", couple_softmax},
        {"LogSoftmax", couple_softmax},
        {"Flatten", couple_reshape},
        {"Reshape", couple_reshape},
        {"Squeeze", couple_reshape},
        {"Unsqueeze", couple_reshape},
        {"Transpose", couple_transpose},
        {"Concat", couple_concat},
        {"Split", couple_split},
        {"Slice", couple_slice},
        {"Gather", couple_gather},
        {"Expand", couple_expand},
        {"Pad", couple_pad},
        {"Shape", couple_shape},
    };
    for (const char* name :
         {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2"})
      made[name] = couple_reduction;
    for (const char* name :
         {"Relu",  "LeakyRelu", "Elu",      "Sigmoid", "HardSigmoid", "HardSwish", "Tanh",
          "Erf",   "Gelu",      "Softplus", "Exp",     "Log",         "Sqrt",      "Reciprocal",
          "Floor", "Ceil",      "Round",    "Neg",     "Abs",         "Sign",      "Identity",
          "Clip",  "Dropout",   "Cast",     "Add",     "Sub",         "Mul",       "Div",
          "Min",   "Max",       "Sum",      "Pow",     "PRelu",       "Where"})
      made[name] = couple_elementwise;
    return made;
  }();
  return table;
}

void fix_all(CouplingSite& site) { site.fix_everything(); }

}  // namespace

CouplingRule find_coupling_rule(const Node& node) {
  const auto it = rules().find(node.op);
  return node.domain.empty() && it != rules().end() ? it->second : fix_all;
}

Place PlaceSets::fresh() {
  const auto place = static_cast<Place>(sets_.size());
  sets_.push_back({.parent = place});
  return place;
}

Places PlaceSets::fresh_axis(int64_t size) {
  Places places(static_cast<size_t>(size));
  for (Place& place : places) place = fresh();
  return places;
}

Place PlaceSets::find(Place place) {
  while (sets_[index(place)].parent != place) {
    Set& set = sets_[index(place)];
    set.parent = sets_[index(set.parent)].parent;
    place = set.parent;
  }
  return place;
}

void PlaceSets::unite(Place a, Place b) {
  a = find(a);
  b = find(b);
  if (a == b) return;
  if (sets_[index(a)].size < sets_[index(b)].size) std::swap(a, b);
  Set& into = sets_[index(a)];
  Set& from = sets_[index(b)];
  from.parent = a;
  into.size += from.size;
  if (from.fixed && !into.fixed) {
    into.fixed = true;
    into.why = std::move(from.why);
  }
  if (into.normalised_by.empty()) into.normalised_by = std::move(from.normalised_by);
}

void PlaceSets::fix(Place place, const std::string& why) {
  Set& set = sets_[index(find(place))];
  if (set.fixed) return;
  set.fixed = true;
  set.why = why;
}

void PlaceSets::normalise(Place place, const std::string& node) {
  Set& set = sets_[index(find(place))];
  if (set.normalised_by.empty()) set.normalised_by = node;
}

size_t CouplingSite::split_choice() const {
  const auto it = split_choices_.find(node_->name);
  return it == split_choices_.end() ? 0 : it->second;
}

void CouplingSite::set_out(size_t i, std::vector<Places> axes) {
  if (i < node_->outputs.size() && !node_->outputs[i].empty())
    coupled_.axes[node_->outputs[i]] = std::move(axes);
}

void CouplingSite::unite(const Places& a, const Places& b) {
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) sets().unite(a[i], b[i]);
}

std::string CouplingSite::where() const {
  return fmt::format("node '{}' ({})", node_->name, node_->op);
}

void CouplingSite::fix(const Places& places) {
  for (const Place place : places)
    if (!sets().is_fixed(place)) sets().fix(place, where());
}

Places CouplingSite::fixed_axis(int64_t size) {
  // One set is enough: what is fixed is never told apart.
  const Place place = sets().fresh();
  sets().fix(place, where());
  return Places(static_cast<size_t>(size), place);
}

void CouplingSite::fix_everything() {
  for (size_t i = 0; i < inputs(); ++i) {
    if (!has(i)) continue;
    for (const Places& places : in(i)) fix(places);
  }
  for (size_t i = 0; i < node_->outputs.size(); ++i) {
    if (node_->outputs[i].empty()) continue;
    std::vector<Places> axes;
    for (const int64_t size : out_shape(i)) axes.push_back(fixed_axis(size));
    set_out(i, std::move(axes));
  }
}

}  // namespace pare
