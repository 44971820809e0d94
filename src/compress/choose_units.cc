// Which units go: see shrink.h.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "compress/shrink.h"
#include "compress/unit_costs.h"

namespace pare {
namespace {

// A group's units, least damage first, and how far it has been taken apart.
struct Queue {
  std::vector<int32_t> order;
  std::vector<double> damage_before;  // prefix sums
  int64_t gone = 0;
  int64_t most = 0;  // may go
  int64_t step = 1;  // what is left is a multiple of it

  // How many go next; 0: none may.
  int64_t next() const {
    const auto size = static_cast<int64_t>(order.size());
    const int64_t left = size - gone;
    const int64_t smaller = (left - 1) / step * step;
    if (smaller < 1 || size - smaller > most) return 0;
    return left - smaller;
  }
  std::span<const int32_t> chunk() const {
    return std::span(order).subspan(static_cast<size_t>(gone), static_cast<size_t>(next()));
  }
  double damage() const {
    return damage_before[static_cast<size_t>(gone + next())] -
           damage_before[static_cast<size_t>(gone)];
  }
};

// Channels that a unit has along the narrowest axis of a weight matrix: a head's width, one for a
// plain channel.
int64_t width_of(const UnitGroup& group) {
  int64_t width = 0;
  for (size_t a = 0; a < group.axes.size(); ++a) {
    if (group.axes[a].role == WeightAxis::Role::kOther) continue;
    const auto places = static_cast<int64_t>(group.units[0].indices[a].size());
    width = width == 0 ? places : std::min(width, places);
  }
  return std::max<int64_t>(width, 1);
}

Queue make_queue(const UnitGroup& group, const std::vector<double>& damage, bool may_go,
                 const ShrinkBudget& budget) {
  Queue queue;
  queue.order.resize(group.units.size());
  std::iota(queue.order.begin(), queue.order.end(), group.first_unit);
  const auto of = [&](int32_t unit) { return damage[static_cast<size_t>(unit)]; };
  std::stable_sort(queue.order.begin(), queue.order.end(),
                   [&](int32_t a, int32_t b) { return of(a) < of(b); });
  queue.damage_before = {0.0};
  for (const int32_t unit : queue.order)
    queue.damage_before.push_back(queue.damage_before.back() + of(unit));
  const bool known = std::isfinite(queue.damage_before.back());
  const auto size = static_cast<double>(group.units.size());
  if (may_go && known)
    queue.most = std::min(static_cast<int64_t>(budget.most * size),
                          static_cast<int64_t>(group.units.size()) - 1);
  queue.step = budget.multiple / std::gcd(budget.multiple, width_of(group));
  return queue;
}

class Chooser {
 public:
  Chooser(UnitCosts costs, std::vector<Queue> queues, const ShrinkBudget& budget, size_t units)
      : costs_(std::move(costs)), queues_(std::move(queues)), removed_(units, false) {
    whole_ = costs_.total();
    goal_ = {budget.macs * whole_.macs, budget.parameters * whole_.parameters};
    for (Queue& queue : queues_) take_share(queue, budget.each);
  }

  Result<std::vector<bool>> run() {
    for (UnitCost now = costs_.total(); !met(now); now = costs_.total()) {
      Queue* best = cheapest(now);
      if (best == nullptr) return out_of_reach(now);
      take(*best);
    }
    return removed_;
  }

 private:
  // The totals are sums of products of floating shares.
  static constexpr double kSlack = 1 + 1e-9;
  bool macs_met(const UnitCost& now) const { return now.macs <= goal_.macs * kSlack; }
  bool parameters_met(const UnitCost& now) const {
    return now.parameters <= goal_.parameters * kSlack;
  }
  bool met(const UnitCost& now) const { return macs_met(now) && parameters_met(now); }

  void take(Queue& queue) {
    const std::span<const int32_t> chunk = queue.chunk();
    for (const int32_t unit : chunk) removed_[static_cast<size_t>(unit)] = true;
    costs_.remove(chunk);
    queue.gone += static_cast<int64_t>(chunk.size());
  }

  void take_share(Queue& queue, double share) {
    const auto size = static_cast<double>(queue.order.size());
    const int64_t wanted = std::llround(share * size);
    while (queue.next() > 0 && queue.gone + queue.next() <= wanted) take(queue);
  }

  // Least damage for what it saves of what is still too much.
  Queue* cheapest(const UnitCost& now) {
    Queue* best = nullptr;
    double least = 0;
    for (Queue& queue : queues_) {
      if (queue.next() == 0) continue;
      const UnitCost saved = costs_.saving(queue.chunk());
      const double gain = (macs_met(now) ? 0 : saved.macs / whole_.macs) +
                          (parameters_met(now) ? 0 : saved.parameters / whole_.parameters);
      if (gain <= 0) continue;
      const double price = queue.damage() / gain;
      if (best != nullptr && price >= least) continue;
      best = &queue;
      least = price;
    }
    return best;
  }

  Status out_of_reach(const UnitCost& now) const {
    return invalid_argument(fmt::format(
        "what may go leaves {:.3g} of the MACs and {:.3g} of the parameters; at most {:.3g} and "
        "{:.3g} are wanted",
        now.macs / whole_.macs, now.parameters / whole_.parameters, goal_.macs / whole_.macs,
        goal_.parameters / whole_.parameters));
  }

  UnitCosts costs_;
  std::vector<Queue> queues_;
  std::vector<bool> removed_;
  UnitCost whole_;
  UnitCost goal_;
};

}  // namespace

Result<std::vector<bool>> choose_units(const Graph& graph, const Couplings& couplings,
                                       const std::vector<double>& damage,
                                       const std::vector<bool>& may_go,
                                       const ShrinkBudget& budget) {
  PARE_ASSIGN_OR_RETURN(UnitCosts costs, UnitCosts::create(graph, couplings));
  std::vector<Queue> queues;
  for (size_t g = 0; g < couplings.groups.size(); ++g)
    queues.push_back(make_queue(couplings.groups[g], damage, may_go[g], budget));
  return Chooser(std::move(costs), std::move(queues), budget, damage.size()).run();
}

}  // namespace pare
