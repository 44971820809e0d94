#include "runtime/plan.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "runtime/memory_plan.h"
#include "runtime/views.h"

namespace pare {
namespace {

View dense_view(const Shape& shape) {
  View v;
  v.buffer = 0;
  v.shape = shape;
  v.strides = strides_in_order(shape, plain_order(static_cast<int>(shape.size())));
  return v;
}

TEST(Views, ChannelsLastOrder) {
  EXPECT_EQ(channels_last_order(4), (std::vector<int>{0, 2, 3, 1}));
  View v = dense_view({2, 3, 4, 5});
  EXPECT_TRUE(is_dense(v));
  v.strides = strides_in_order(v.shape, channels_last_order(4));
  EXPECT_EQ(v.strides, (Shape{60, 1, 15, 3}));
  EXPECT_FALSE(is_dense(v));
  EXPECT_TRUE(is_dense_in(v, channels_last_order(4)));
  EXPECT_EQ(memory_order(v), channels_last_order(4));
}

TEST(Views, StridesOfSizeOneDoNotMatter) {
  View v = dense_view({2, 3, 1, 1});
  v.strides[2] = 77;
  EXPECT_TRUE(is_dense(v));
  EXPECT_TRUE(is_dense_in(v, channels_last_order(4)));
}

TEST(Views, ReshapeWithoutMoving) {
  View v = dense_view({2, 3, 4, 5});
  v.strides = strides_in_order(v.shape, channels_last_order(4));
  // Channels-last pixels become one dimension, still strided.
  const auto pixels = reshaped_view(v, {2, 3, 20});
  ASSERT_TRUE(pixels.has_value());
  EXPECT_EQ(pixels->strides, (Shape{60, 1, 3}));
  EXPECT_FALSE(reshaped_view(v, {2, 60}).has_value());
  const auto split = reshaped_view(dense_view({6, 4}), {2, 3, 2, 2});
  ASSERT_TRUE(split.has_value());
  EXPECT_EQ(split->strides, (Shape{12, 4, 2, 1}));
  const auto ones = reshaped_view(dense_view({1, 6}), {6, 1, 1});
  ASSERT_TRUE(ones.has_value());
  EXPECT_EQ(ones->strides[0], 1);
}

TEST(Views, BroadcastStrides) {
  EXPECT_EQ(broadcast_strides(dense_view({3, 1}), {2, 3, 4}), (Shape{0, 1, 0}));
  EXPECT_EQ(broadcast_strides(dense_view({}), {2, 2}), (Shape{0, 0}));
}

// Random lifetimes: no two buffers that live at the same step may share a byte.
TEST(MemoryPlan, LivingBuffersNeverOverlap) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Rng rng(seed, RngPurpose::kTest);
    Plan plan;
    const int steps = 20;
    plan.steps.resize(steps);
    for (int b = 0; b < 30; ++b) {
      Buffer buffer;
      buffer.bytes = static_cast<int64_t>(rng.below(5000));
      plan.buffers.push_back(buffer);
      const auto first = static_cast<size_t>(rng.below(steps));
      const auto last = first + rng.below(steps - first);
      plan.steps[first].writes.push_back(b);
      plan.steps[last].reads.push_back(b);
    }
    plan.steps[3].scratch_bytes = 99;
    plan_memory(plan);
    EXPECT_EQ(plan.scratch_bytes, 99);
    int64_t total = 0;
    for (size_t i = 0; i < plan.buffers.size(); ++i) {
      const Buffer& a = plan.buffers[i];
      total += (a.bytes + 63) / 64 * 64;
      EXPECT_LE(a.arena_offset + a.bytes, plan.arena_bytes);
      EXPECT_EQ(a.arena_offset % 64, 0);
      for (size_t j = 0; j < i; ++j) {
        const Buffer& b = plan.buffers[j];
        if (a.last < b.first || b.last < a.first) continue;
        EXPECT_TRUE(a.arena_offset + a.bytes <= b.arena_offset ||
                    b.arena_offset + b.bytes <= a.arena_offset)
            << "seed " << seed << ": " << i << " and " << j;
      }
    }
    EXPECT_LT(plan.arena_bytes, total);
  }
}

TEST(MemoryPlan, OutputsLiveToTheEnd) {
  Plan plan;
  plan.steps.resize(2);
  plan.buffers.resize(2);
  plan.buffers[0].bytes = plan.buffers[1].bytes = 64;
  plan.steps[0].writes = {0};
  plan.steps[1].writes = {1};
  View v;
  v.buffer = 0;
  plan.outputs = {v};
  plan_memory(plan);
  EXPECT_NE(plan.buffers[0].arena_offset, plan.buffers[1].arena_offset);
}

}  // namespace
}  // namespace pare
