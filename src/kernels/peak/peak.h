// Peak: the most that a core can do, found by loops that do nothing else: multiply and add, or read
// memory. No layer uses them; what a layer reaches is held against them (measure/ceilings.h).
//
// The loops are those of the instructions that this house's kernels are made of (fused multiply-add
// for floats; for bytes the widest exact product that the instruction set has), with as many sums
// under way as hide their latency. So the figures are limits of our kernels on this processor, not
// its data sheet's.
#ifndef PARE_KERNELS_PEAK_PEAK_H_
#define PARE_KERNELS_PEAK_PEAK_H_

#include <cstdint>
#include <span>

#include "kernels/kernel.h"

namespace pare {

enum class PeakKind : uint8_t { kFloat32, kBFloat16, kInt8, kRead };

struct PeakKernel {
  const char* name;
  IsaBits needs;
  PeakKind kind;
  // Of one round: multiply-adds, or floats that are read.
  int64_t unit;
  // Does `rounds` of them and returns a sum that proves it: of products of 1 by 1 it is rounds *
  // unit, exactly up to 2^24 rounds; of reading, the sum of memory[0 … rounds * unit).
  double (*run)(int64_t rounds, const float* memory);
};

std::span<const PeakKernel* const> peak_kernels();
// The fastest of a kind that the processor can run; nullptr: it has none of its own (bfloat16 is
// then widened and multiplied as float32).
const PeakKernel* find_peak(PeakKind kind, const CpuFeatures& cpu);

}  // namespace pare

#endif  // PARE_KERNELS_PEAK_PEAK_H_
