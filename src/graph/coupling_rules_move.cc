// Operators that move elements about.
#include <algorithm>
#include <optional>
#include <utility>

#include "graph/coupling_rules.h"

namespace pare {
namespace {

// Axes of the old and the new shape whose sizes multiply to the same, sizes of one left out.
struct Stretch {
  std::vector<size_t> from;
  std::vector<size_t> to;
};

std::vector<size_t> axes_beyond_one(const Shape& shape) {
  std::vector<size_t> axes;
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1) axes.push_back(i);
  return axes;
}

std::vector<Stretch> match_shapes(const Shape& from, const Shape& to) {
  const std::vector<size_t> old_axes = axes_beyond_one(from);
  const std::vector<size_t> new_axes = axes_beyond_one(to);
  std::vector<Stretch> stretches;
  size_t i = 0;
  size_t j = 0;
  while (i < old_axes.size() && j < new_axes.size()) {
    Stretch stretch{{old_axes[i]}, {new_axes[j]}};
    int64_t a = from[old_axes[i++]];
    int64_t b = to[new_axes[j++]];
    while (a != b) {
      if (a < b) {
        stretch.from.push_back(old_axes[i]);
        a *= from[old_axes[i++]];
      } else {
        stretch.to.push_back(new_axes[j]);
        b *= to[new_axes[j++]];
      }
    }
    stretches.push_back(std::move(stretch));
  }
  return stretches;
}

int64_t product_behind(const std::vector<size_t>& axes, size_t position, const Shape& shape) {
  int64_t product = 1;
  for (size_t k = position + 1; k < axes.size(); ++k) product *= shape[axes[k]];
  return product;
}

// Where along axis `axes[position]` element i of the merged axis lies.
size_t along(int64_t i, const std::vector<size_t>& axes, size_t position, const Shape& shape) {
  return static_cast<size_t>(i / product_behind(axes, position, shape) % shape[axes[position]]);
}

bool any_free(CouplingSite& site, const Places& places) {
  return std::any_of(places.begin(), places.end(),
                     [&](Place place) { return !site.sets().is_fixed(place); });
}

// Several axes become one: it shrinks with the first of them that may.
Places merged(CouplingSite& site, const Stretch& stretch, const std::vector<Places>& x) {
  std::optional<size_t> mover;
  for (size_t k = 0; k < stretch.from.size(); ++k) {
    if (!mover && any_free(site, x[stretch.from[k]])) {
      mover = k;
    } else {
      site.fix(x[stretch.from[k]]);
    }
  }
  const int64_t size = site.out_shape(0)[stretch.to[0]];
  if (!mover) return site.fixed_axis(size);
  Places places;
  for (int64_t i = 0; i < size; ++i)
    places.push_back(x[stretch.from[*mover]][along(i, stretch.from, *mover, site.in_shape(0))]);
  return places;
}

// One axis becomes several, of which one may shrink.
void split(CouplingSite& site, const Stretch& stretch, const Places& old,
           std::vector<Places>& out) {
  const Shape& shape = site.out_shape(0);
  const bool free = any_free(site, old) && site.split_choice() < stretch.to.size();
  const size_t mover = free ? site.split_choice() : stretch.to.size();
  for (size_t k = 0; k < stretch.to.size(); ++k) {
    const int64_t size = shape[stretch.to[k]];
    if (k != mover) {
      out[stretch.to[k]] = site.fixed_axis(size);
      continue;
    }
    Places places(static_cast<size_t>(size), -1);
    for (size_t i = 0; i < old.size(); ++i) {
      Place& place = places[along(static_cast<int64_t>(i), stretch.to, k, shape)];
      if (place < 0) place = old[i];
      site.sets().unite(place, old[i]);
    }
    site.coupled().splits[site.node().name] = {stretch.to.size(), places};
    out[stretch.to[k]] = std::move(places);
  }
  if (!free) site.fix(old);
}

}  // namespace

void couple_reshape(CouplingSite& site) {
  // Squeeze without axes would also take one that has shrunk to a single place.
  const bool open =
      site.node().op == "Squeeze" && !site.has(1) && site.node().ints_attribute("axes").empty();
  const bool computed = site.node().op == "Reshape" && !site.is_constant(1);
  if (open || computed) return site.fix_everything();
  const Shape& from = site.in_shape(0);
  const Shape& to = site.out_shape(0);
  if (element_count(from) == 0) return site.fix_everything();
  const std::vector<Places>& x = site.in(0);
  std::vector<Places> out(to.size());
  for (const Stretch& stretch : match_shapes(from, to)) {
    if (stretch.from.size() == 1 && stretch.to.size() == 1) {
      out[stretch.to[0]] = x[stretch.from[0]];
    } else if (stretch.to.size() == 1) {
      out[stretch.to[0]] = merged(site, stretch, x);
    } else if (stretch.from.size() == 1) {
      split(site, stretch, x[stretch.from[0]], out);
    } else {
      for (const size_t axis : stretch.from) site.fix(x[axis]);
    }
  }
  for (size_t axis = 0; axis < to.size(); ++axis)
    if (out[axis].empty()) out[axis] = site.fixed_axis(to[axis]);
  site.set_out(0, std::move(out));
}

void couple_transpose(CouplingSite& site) {
  const std::vector<Places>& x = site.in(0);
  std::vector<int64_t> order = site.node().ints_attribute("perm");
  if (order.empty())
    for (size_t i = x.size(); i > 0; --i) order.push_back(static_cast<int64_t>(i) - 1);
  std::vector<Places> out;
  out.reserve(order.size());
  for (const int64_t axis : order) out.push_back(x[static_cast<size_t>(axis)]);
  site.set_out(0, std::move(out));
}

void couple_concat(CouplingSite& site) {
  std::vector<Places> out = site.in(0);
  const int64_t stated = site.node().int_attribute("axis", 0);
  const auto joined =
      static_cast<size_t>(stated < 0 ? stated + static_cast<int64_t>(out.size()) : stated);
  for (size_t i = 1; i < site.inputs(); ++i) {
    const std::vector<Places>& x = site.in(i);
    for (size_t axis = 0; axis < out.size(); ++axis) {
      if (axis == joined) {
        out[axis].insert(out[axis].end(), x[axis].begin(), x[axis].end());
      } else {
        site.unite(out[axis], x[axis]);
      }
    }
  }
  site.set_out(0, std::move(out));
}

void couple_split(CouplingSite& site) {
  const std::vector<Places>& x = site.in(0);
  const int64_t stated = site.node().int_attribute("axis", 0);
  const auto cut =
      static_cast<size_t>(stated < 0 ? stated + static_cast<int64_t>(x.size()) : stated);
  auto from = x[cut].begin();
  for (size_t i = 0; i < site.node().outputs.size(); ++i) {
    if (site.node().outputs[i].empty()) return site.fix_everything();
    std::vector<Places> out = x;
    const auto to = from + site.out_shape(i)[cut];
    out[cut].assign(from, to);
    from = to;
    site.set_out(i, std::move(out));
  }
}

// Starts and ends are constants that count the places; an axis that is cut keeps its size.
void couple_slice(CouplingSite& site) {
  const RuleContext context(site.node(), site.graph().opset, site.inference().infos,
                            site.inference().known);
  const Result<std::vector<SliceRange>> ranges = slice_ranges(context);
  if (!ranges.ok()) return site.fix_everything();
  std::vector<Places> out = site.in(0);
  for (size_t axis = 0; axis < out.size(); ++axis) {
    const SliceRange& range = (*ranges)[axis];
    if (range.start == 0 && range.step == 1 &&
        range.count == static_cast<int64_t>(out[axis].size()))
      continue;
    site.fix(out[axis]);
    out[axis] = site.fixed_axis(range.count);
  }
  site.set_out(0, std::move(out));
}

void couple_gather(CouplingSite& site) {
  const std::vector<Places>& x = site.in(0);
  const int64_t stated = site.node().int_attribute("axis", 0);
  const auto axis =
      static_cast<size_t>(stated < 0 ? stated + static_cast<int64_t>(x.size()) : stated);
  site.fix(x[axis]);
  std::vector<Places> out(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(axis));
  for (const int64_t size : site.in_shape(1)) out.push_back(site.fixed_axis(size));
  out.insert(out.end(), x.begin() + static_cast<std::ptrdiff_t>(axis) + 1, x.end());
  for (const Places& places : site.in(1)) site.fix(places);
  site.set_out(0, std::move(out));
}

void couple_expand(CouplingSite& site) {
  if (!site.is_constant(1)) return site.fix_everything();
  const std::vector<Places>& x = site.in(0);
  const Shape& shape = site.out_shape(0);
  std::vector<Places> out;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    const bool given = axis + x.size() >= shape.size();
    const Places* places = given ? &x[axis + x.size() - shape.size()] : nullptr;
    const bool whole = places != nullptr && static_cast<int64_t>(places->size()) == shape[axis];
    out.push_back(whole ? *places : site.fixed_axis(shape[axis]));
  }
  site.set_out(0, std::move(out));
}

// As much taken from one end of an axis as is added at the other keeps its size but moves its
// places: with amounts that are negative or not known every axis stays.
void couple_pad(CouplingSite& site) {
  std::vector<Places> out = site.in(0);
  const Node& node = site.node();
  std::vector<int64_t> amounts = node.ints_attribute("pads");
  if (node.has_input(1)) {
    const auto known = site.inference().known.find(node.inputs[1]);
    amounts = known == site.inference().known.end() ? std::vector<int64_t>{-1} : known->second.ints;
  }
  const bool moves = std::any_of(amounts.begin(), amounts.end(), [](int64_t a) { return a < 0; });
  for (size_t axis = 0; axis < out.size(); ++axis) {
    const int64_t size = site.out_shape(0)[axis];
    if (!moves && static_cast<int64_t>(out[axis].size()) == size) continue;
    site.fix(out[axis]);
    out[axis] = site.fixed_axis(size);
  }
  site.set_out(0, std::move(out));
}

// Sizes that are computed with may not change; that of the batch, the only one most graphs still
// ask for, does not.
void couple_shape(CouplingSite& site) {
  const auto asks_for_batch = [&](int reader) {
    const Node& node = site.graph().nodes[static_cast<size_t>(reader)];
    const auto known = site.inference().known.find(node.inputs.size() > 1 ? node.inputs[1] : "");
    return node.op == "Gather" && known != site.inference().known.end() &&
           known->second.ints == std::vector<int64_t>{0};
  };
  const std::vector<int>& readers = site.index().consumers(site.node().outputs[0]);
  const bool first_only =
      site.node().int_attribute("start", 0) == 0 && site.node().int_attribute("end", 0) == 1;
  if (!first_only && !std::all_of(readers.begin(), readers.end(), asks_for_batch))
    return site.fix_everything();
  site.set_out(0, {site.fixed_axis(site.out_shape(0)[0])});
}

}  // namespace pare
