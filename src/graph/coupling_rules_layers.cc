// Products, norms, pooling and what goes element by element.
#include <cstddef>
#include <utility>

#include "graph/coupling_rules.h"
#include "graph/opset.h"

namespace pare {
namespace {

// Places `step` apart belong together: index j of every stretch of `step`.
void unite_stretches(CouplingSite& site, const Places& places, size_t step) {
  for (size_t i = step; i < places.size(); ++i) site.sets().unite(places[i], places[i % step]);
}

void unite_all(CouplingSite& site, const Places& places, size_t first, size_t count, Place with) {
  for (size_t i = first; i < first + count; ++i) site.sets().unite(places[i], with);
}

// See couplings.h for which of the two ways is taken.
void couple_groups(CouplingSite& site, const Places& channels, const Places& outputs,
                   const Places& columns) {
  const size_t inputs = columns.size();
  const size_t groups = channels.size() / inputs;
  const size_t made = outputs.size() / groups;
  if (groups >= inputs) {
    site.fix(columns);
    for (size_t g = 0; g < groups; ++g) {
      unite_all(site, channels, g * inputs, inputs, outputs[g * made]);
      unite_all(site, outputs, g * made, made, outputs[g * made]);
    }
    return;
  }
  unite_stretches(site, channels, inputs);
  unite_stretches(site, outputs, made);
  site.unite(channels, columns);  // of the first group, and so of all
}

// The axis of a value of lower rank that broadcasting lays over axis `axis` of `rank`; -1: none.
ptrdiff_t aligned(size_t axis, size_t rank, size_t own_rank) {
  return static_cast<ptrdiff_t>(axis + own_rank) - static_cast<ptrdiff_t>(rank);
}

// The output's leading axes up to `count` from the inputs' `count[i]` leading ones, broadcast.
struct Operand {
  const std::vector<Places>* axes;
  size_t count;
};

std::vector<Places> broadcast(CouplingSite& site, const std::vector<Operand>& operands,
                              const Shape& shape, size_t count) {
  std::vector<Places> result;
  for (size_t axis = 0; axis < count; ++axis) {
    const auto size = static_cast<size_t>(shape[axis]);
    const Places* first = nullptr;
    for (const Operand& operand : operands) {
      const ptrdiff_t own = aligned(axis, count, operand.count);
      if (own < 0) continue;
      const Places& places = (*operand.axes)[static_cast<size_t>(own)];
      if (places.size() != size) continue;  // one element for all
      if (first == nullptr) {
        first = &places;
      } else {
        site.unite(*first, places);
      }
    }
    result.push_back(first == nullptr ? site.fixed_axis(shape[axis]) : *first);
  }
  return result;
}

}  // namespace

void couple_convolution(CouplingSite& site) {
  const std::vector<Places>& x = site.in(0);
  const std::vector<Places>& w = site.in(1);
  for (size_t axis = 2; axis < x.size(); ++axis) {
    site.fix(x[axis]);
    site.fix(w[axis]);
  }
  if (x[1].size() == w[1].size()) {
    site.unite(x[1], w[1]);
  } else {
    couple_groups(site, x[1], w[0], w[1]);
  }
  if (site.has(2)) site.unite(w[0], site.in(2)[0]);
  std::vector<Places> out = {x[0], w[0]};
  for (size_t axis = 2; axis < x.size(); ++axis)
    out.push_back(site.fixed_axis(site.out_shape(0)[axis]));
  site.set_out(0, std::move(out));
}

void couple_gemm(CouplingSite& site) {
  const bool a_turned = site.node().int_attribute("transA", 0) != 0;
  const bool b_turned = site.node().int_attribute("transB", 0) != 0;
  const std::vector<Places>& a = site.in(0);
  const std::vector<Places>& b = site.in(1);
  site.unite(a[a_turned ? 0 : 1], b[b_turned ? 1 : 0]);
  const std::vector<Places> product = {a[a_turned ? 1 : 0], b[b_turned ? 0 : 1]};
  std::vector<Operand> operands = {{&product, 2}};
  if (site.has(2)) operands.push_back({&site.in(2), site.in(2).size()});
  site.set_out(0, broadcast(site, operands, site.out_shape(0), 2));
}

void couple_matmul(CouplingSite& site) {
  const std::vector<Places>& a = site.in(0);
  const std::vector<Places>& b = site.in(1);
  if (a.size() < 2 || b.size() < 2) return site.fix_everything();
  site.unite(a.back(), b[b.size() - 2]);
  std::vector<Places> out = broadcast(site, {{&a, a.size() - 2}, {&b, b.size() - 2}},
                                      site.out_shape(0), site.out_shape(0).size() - 2);
  out.push_back(a[a.size() - 2]);
  out.push_back(b.back());
  site.set_out(0, std::move(out));
}

void couple_batch_norm(CouplingSite& site) {
  const std::vector<Places>& x = site.in(0);
  for (size_t i = 1; i < 5; ++i) site.unite(x[1], site.in(i)[0]);
  site.set_out(0, x);
}

void couple_layer_norm(CouplingSite& site) {
  if (site.node().outputs.size() > 1) return site.fix_everything();
  const std::vector<Places>& x = site.in(0);
  const int64_t stated = site.node().int_attribute("axis", -1);
  const auto rank = static_cast<int64_t>(x.size());
  const auto first = static_cast<size_t>(stated < 0 ? stated + rank : stated);
  for (size_t i = 1; i < site.inputs(); ++i) {
    if (!site.has(i)) continue;
    const std::vector<Places>& scale = site.in(i);
    for (size_t axis = first; axis < x.size(); ++axis) {
      const ptrdiff_t own = aligned(axis, x.size(), scale.size());
      if (own < 0) continue;
      const Places& places = scale[static_cast<size_t>(own)];
      if (places.size() == x[axis].size()) site.unite(x[axis], places);
    }
  }
  for (size_t axis = first; axis < x.size(); ++axis)
    for (const Place place : x[axis]) site.sets().normalise(place, site.node().name);
  site.set_out(0, x);
}

void couple_lrn(CouplingSite& site) {
  for (const Place place : site.in(0)[1]) site.sets().normalise(place, site.node().name);
  site.set_out(0, site.in(0));
}

void couple_window(CouplingSite& site) {
  const std::vector<Places>& x = site.in(0);
  std::vector<Places> out = {x[0], x[1]};
  for (size_t axis = 2; axis < x.size(); ++axis) {
    site.fix(x[axis]);
    out.push_back(site.fixed_axis(site.out_shape(0)[axis]));
  }
  site.set_out(0, std::move(out));
}

void couple_reduction(CouplingSite& site) {
  const Result<std::vector<int64_t>> stated = constant_axes(site.graph(), site.node());
  if (!stated.ok() || stated->empty()) return site.fix_everything();
  const std::vector<Places>& x = site.in(0);
  std::vector<bool> reduced(x.size(), false);
  for (const int64_t axis : *stated)
    reduced[static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(x.size()) : axis)] = true;
  const bool keep = site.node().int_attribute("keepdims", 1) != 0;
  std::vector<Places> out;
  for (size_t axis = 0; axis < x.size(); ++axis) {
    if (!reduced[axis]) {
      out.push_back(x[axis]);
      continue;
    }
    site.fix(x[axis]);
    if (keep) out.push_back(site.fixed_axis(1));
  }
  site.set_out(0, std::move(out));
}

void couple_elementwise(CouplingSite& site) {
  const Shape& shape = site.out_shape(0);
  std::vector<Operand> operands;
  for (size_t i = 0; i < site.inputs(); ++i)
    if (site.has(i)) operands.push_back({&site.in(i), site.in(i).size()});
  std::vector<Places> out = broadcast(site, operands, shape, shape.size());
  // The mask of a Dropout, in graphs that still have one.
  if (site.node().outputs.size() > 1) site.set_out(1, out);
  site.set_out(0, std::move(out));
}

void couple_softmax(CouplingSite& site) {
  const std::vector<Places>& x = site.in(0);
  const int64_t stated = site.node().int_attribute("axis", -1);
  site.fix(x[static_cast<size_t>(stated < 0 ? stated + static_cast<int64_t>(x.size()) : stated)]);
  site.set_out(0, x);
}

}  // namespace pare
