#include "runtime/row_groups.h"

#include <algorithm>

#include "base/cache_line.h"

namespace pare {
namespace {

// Each thread reads the weights of all steps for its own rows, where step by step the threads share
// them: it pays while they stay in its second-level cache (512 KB where this was measured).
constexpr int64_t kMostWeightBytes = 256 << 10;
// Whole tiles of every kernel.
constexpr int64_t kLeastBlockRows = 6;
constexpr int64_t kMostBlockRows = 48;

int64_t blocks_of(int64_t rows, int64_t threads) {
  const int64_t at_once = threads * kMostBlockRows;
  const int64_t even = threads * ((rows + at_once - 1) / at_once);
  return std::min(even, rows / kLeastBlockRows);
}

int64_t scratch_of(const Plan& plan, const RowGroup& group) {
  const int64_t few = group.rows / group.blocks;
  int64_t bytes = 0;
  for (int i = group.first; i < group.last; ++i) {
    const RowWork& work = plan.steps[static_cast<size_t>(i)].by_rows;
    bytes = std::max({bytes, work.scratch_bytes(few), work.scratch_bytes(few + 1)});
  }
  return round_up_64(bytes);
}

}  // namespace

void form_row_groups(Plan& plan, int threads) {
  if (threads < 2) return;
  const auto shown_after = [&](int step) {
    return std::any_of(plan.taps.begin(), plan.taps.end(),
                       [step](const Tap& tap) { return tap.after_step == step; });
  };
  const int count = static_cast<int>(plan.steps.size());
  for (int first = 0; first < count;) {
    RowGroup group{first, first, plan.steps[static_cast<size_t>(first)].by_rows.rows, 0};
    int64_t weights = 0;
    while (group.last < count) {
      const Step& step = plan.steps[static_cast<size_t>(group.last)];
      weights += step.layer.weight_bytes;  // read for every block of rows
      if (step.by_rows.rows != group.rows || weights > kMostWeightBytes) break;
      ++group.last;
      if (shown_after(group.last - 1)) break;
    }
    first = std::max(group.last, first + 1);
    if (group.rows == 0 || group.last - group.first < 2) continue;
    group.blocks = blocks_of(group.rows, threads);
    if (group.blocks < 2) continue;
    group.threads = threads;
    group.scratch_bytes = scratch_of(plan, group);
    for (int i = group.first; i < group.last; ++i) {
      plan.steps[static_cast<size_t>(i)].layer.reason +=
          "; a block of rows at a time, with its neighbours";
    }
    plan.row_groups.push_back(group);
  }
}

}  // namespace pare
