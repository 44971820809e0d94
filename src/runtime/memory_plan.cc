#include "runtime/memory_plan.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/cache_line.h"

namespace pare {
namespace {

void set_lifetimes(Plan& plan) {
  constexpr int kNever = std::numeric_limits<int>::max();
  for (Buffer& b : plan.buffers) {
    b.first = kNever;
    b.last = -2;
  }
  const auto touch = [&](int buffer, int step) {
    Buffer& b = plan.buffers[static_cast<size_t>(buffer)];
    b.first = std::min(b.first, step);
    b.last = std::max(b.last, step);
  };
  const int end = static_cast<int>(plan.steps.size());
  for (const View& v : plan.inputs) touch(v.buffer, -1);
  // Blocks of rows are at different steps of a group at the same time.
  const auto touch_step = [&](int i, int when) {
    for (int b : plan.steps[static_cast<size_t>(i)].reads) touch(b, when);
    for (int b : plan.steps[static_cast<size_t>(i)].writes) touch(b, when);
  };
  for (int i = 0; i < end; ++i) touch_step(i, i);
  for (const RowGroup& group : plan.row_groups) {
    for (int i = group.first; i < group.last; ++i) {
      touch_step(i, group.first);
      touch_step(i, group.last - 1);
    }
  }
  for (const View& v : plan.outputs) touch(v.buffer, end);
  for (const Tap& t : plan.taps) touch(t.view.buffer, t.after_step);
}

}  // namespace

void plan_memory(Plan& plan) {
  set_lifetimes(plan);
  std::vector<size_t> order;
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const Buffer& b = plan.buffers[i];
    if (!b.is_constant && b.last >= b.first) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return plan.buffers[a].bytes > plan.buffers[b].bytes;
  });
  std::vector<size_t> placed;  // by offset, ascending
  plan.arena_bytes = 0;
  for (size_t i : order) {
    Buffer& b = plan.buffers[i];
    const int64_t bytes = round_up_64(b.bytes);
    int64_t offset = 0;
    for (size_t j : placed) {
      const Buffer& other = plan.buffers[j];
      if (other.last < b.first || other.first > b.last) continue;
      if (offset + bytes <= other.arena_offset) break;
      offset = std::max(offset, other.arena_offset + round_up_64(other.bytes));
    }
    b.arena_offset = offset;
    plan.arena_bytes = std::max(plan.arena_bytes, offset + bytes);
    const auto at = std::upper_bound(placed.begin(), placed.end(), i, [&](size_t x, size_t y) {
      return plan.buffers[x].arena_offset < plan.buffers[y].arena_offset;
    });
    placed.insert(at, i);
  }
  plan.scratch_bytes = 0;
  for (const Step& s : plan.steps)
    plan.scratch_bytes = std::max(plan.scratch_bytes, s.scratch_bytes);
  for (const RowGroup& g : plan.row_groups) {
    plan.scratch_bytes = std::max(plan.scratch_bytes, g.threads * g.scratch_bytes);
  }
}

}  // namespace pare
