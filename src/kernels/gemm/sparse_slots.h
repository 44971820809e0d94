// One row of bytes by weights of which few are not zero, eight outputs at a time.
//
// A step gives each of the eight outputs four slots, 32 bytes: a weight, and the place of its input
// in a window of 32 neighbouring inputs. A byte shuffle fetches the 32 inputs of a step from the
// window, vpmaddubsw and vpmaddwd multiply and add them: seven vector instructions for 32 slots.
//
// The window begins where the output that has got least far goes on; the others run ahead of it as
// far as it reaches. So an output waits only for one that is 32 inputs behind: with a tenth of
// random weights left about half of the slots are filled, with windows at fixed places a third.
//
// vpmaddubsw adds two products in sixteen bits, saturating. Neighbouring slots are filled so that
// it never does: their positive weights add up to at most 128, and so do their negative ones.
#ifndef PARE_KERNELS_GEMM_SPARSE_SLOTS_H_
#define PARE_KERNELS_GEMM_SPARSE_SLOTS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/gemm/sparse.h"

namespace pare {

// The weights of one output that are not zero, by input.
struct SlotWeights {
  std::vector<uint16_t> depths;  // ascending
  std::vector<int8_t> weights;
};

struct SlotStep {
  uint16_t window = 0;  // its first input
  uint8_t places[kSlotBytes] = {};
  int8_t weights[kSlotBytes] = {};
};

// The steps of eight outputs. `its` is used up.
void fill_slots(std::span<SlotWeights, kSparseSlice> its, std::vector<SlotStep>& steps);

}  // namespace pare

#endif  // PARE_KERNELS_GEMM_SPARSE_SLOTS_H_
