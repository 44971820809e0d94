// sparse_slots.h: every weight has one slot, within reach of its window, and no two neighbours can
// saturate.
#include <gtest/gtest.h>

#include <map>

#include "base/rng.h"
#include "kernels/gemm/sparse_slots.h"

namespace pare {
namespace {

using Outputs = std::vector<SlotWeights>;

std::vector<SlotStep> fill(Outputs its) {
  std::vector<SlotStep> steps;
  fill_slots(std::span<SlotWeights, kSparseSlice>(its), steps);
  return steps;
}

// The inputs and weights of each output as the steps have them.
std::map<std::pair<int, int>, int> read_back(const std::vector<SlotStep>& steps) {
  std::map<std::pair<int, int>, int> found;
  for (const SlotStep& step : steps) {
    for (int slot = 0; slot < kSlotBytes; ++slot) {
      if (step.weights[slot] == 0) continue;
      const int place = (step.places[slot] & 0x0f) + ((step.places[slot] & 0x80) != 0 ? 16 : 0);
      const int output = slot / (kSlotBytes / kSparseSlice);
      const auto [it, fresh] = found.insert({{output, step.window + place}, step.weights[slot]});
      EXPECT_TRUE(fresh) << "output " << output << ", input " << it->first.second << " twice";
    }
  }
  return found;
}

void expect_no_saturation(const std::vector<SlotStep>& steps) {
  for (const SlotStep& step : steps) {
    for (int slot = 0; slot < kSlotBytes; slot += 2) {
      int highest = 0;
      int lowest = 0;
      for (const int8_t w : {step.weights[slot], step.weights[slot + 1]}) {
        highest += w > 0 ? 255 * w : 0;
        lowest += w < 0 ? 255 * w : 0;
      }
      EXPECT_LE(highest, 32767);
      EXPECT_GE(lowest, -32768);
    }
  }
}

void check(const Outputs& its) {
  std::map<std::pair<int, int>, int> want;
  for (int o = 0; o < kSparseSlice; ++o) {
    const SlotWeights& output = its[static_cast<size_t>(o)];
    for (size_t i = 0; i < output.depths.size(); ++i) {
      want[{o, output.depths[i]}] = output.weights[i];
    }
  }
  const std::vector<SlotStep> steps = fill(its);
  EXPECT_EQ(read_back(steps), want);
  expect_no_saturation(steps);
}

Outputs random_outputs(Rng& rng, int k, float density, int least) {
  Outputs its(kSparseSlice);
  for (SlotWeights& output : its) {
    for (int i = 0; i < k; ++i) {
      if (!rng.bernoulli(density)) continue;
      const int weight = least + static_cast<int>(rng.below(static_cast<uint64_t>(129 - least)));
      output.depths.push_back(static_cast<uint16_t>(i));
      output.weights.push_back(
          static_cast<int8_t>(rng.bernoulli(0.5F) ? -weight : std::min(weight, 127)));
    }
  }
  return its;
}

TEST(SparseSlots, EveryWeightHasOneSlot) {
  Rng rng(7, RngPurpose::kTest);
  for (const float density : {0.0F, 0.02F, 0.1F, 0.4F, 1.0F}) {
    for (const int least : {1, 60, 128}) check(random_outputs(rng, 700, density, least));
  }
}

TEST(SparseSlots, OutputsOfOneSignAndTheLargestWeights) {
  Outputs its(kSparseSlice);
  for (int o = 0; o < kSparseSlice; ++o) {
    for (int i = 0; i < 40; ++i) {
      its[static_cast<size_t>(o)].depths.push_back(static_cast<uint16_t>(65535 - 40 + i));
      its[static_cast<size_t>(o)].weights.push_back(o % 2 == 0 ? int8_t{127} : int8_t{-128});
    }
  }
  check(its);
  // Each takes a pair for itself: two in a step.
  EXPECT_EQ(fill(its).size(), 20U);
}

TEST(SparseSlots, AnEmptySliceHasNoSteps) { EXPECT_TRUE(fill(Outputs(kSparseSlice)).empty()); }

}  // namespace
}  // namespace pare
