#include "kernels/gemm/sparse_slots.h"

#include <algorithm>
#include <cstdlib>

namespace pare {
namespace {

constexpr int kSlots = kSlotBytes / kSparseSlice;
// Products of a byte and weights of so much in all fit sixteen bits: 255 * 128 < 2^15.
constexpr int kMostOfPair = 128;

// The four slots of one output in a step: two pairs.
class Slots {
 public:
  // Where `weight` can stand, or -1.
  int place(int8_t weight) {
    int(&sums)[kSlots / 2] = weight > 0 ? positive_ : negative_;
    for (int pair = 0; pair < kSlots / 2; ++pair) {
      if (filled_[pair] == 2 || sums[pair] + std::abs(int{weight}) > kMostOfPair) continue;
      sums[pair] += std::abs(int{weight});
      return 2 * pair + filled_[pair]++;
    }
    return -1;
  }

 private:
  int filled_[kSlots / 2] = {};
  int positive_[kSlots / 2] = {};
  int negative_[kSlots / 2] = {};
};

// A place in the window as two byte shuffles read it, of either half: bit 7 stands for the second.
uint8_t encode(int place) {
  return static_cast<uint8_t>(place < kSlotWindow / 2 ? place : 0x80 | (place - kSlotWindow / 2));
}

// An output's weights that have no slot yet: those from `next` on but the ones marked as taken.
struct Queue {
  SlotWeights& its;
  size_t next = 0;

  bool empty() const { return next == its.depths.size(); }
  // Fills the slots of `step` from `first` on.
  void fill(int first, SlotStep& step) {
    Slots slots;
    for (size_t i = next; i < its.depths.size(); ++i) {
      const int place = its.depths[i] - step.window;
      if (place >= kSlotWindow) break;
      int8_t& weight = its.weights[i];
      if (weight == 0) continue;  // taken
      const int slot = slots.place(weight);
      if (slot < 0) continue;
      step.places[first + slot] = encode(place);
      step.weights[first + slot] = weight;
      weight = 0;
    }
    while (!empty() && its.weights[next] == 0) ++next;
  }
};

}  // namespace

void fill_slots(std::span<SlotWeights, kSparseSlice> its, std::vector<SlotStep>& steps) {
  std::vector<Queue> queues;
  for (SlotWeights& output : its) queues.push_back({output});
  while (true) {
    int window = 1 << 16;
    for (const Queue& q : queues) {
      if (!q.empty()) window = std::min<int>(window, q.its.depths[q.next]);
    }
    if (window == 1 << 16) return;
    SlotStep& step = steps.emplace_back();
    step.window = static_cast<uint16_t>(window);
    for (int i = 0; i < kSparseSlice; ++i) queues[static_cast<size_t>(i)].fill(i * kSlots, step);
  }
}

}  // namespace pare
