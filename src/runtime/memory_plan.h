// Where each buffer lies in the arena: buffers whose lifetimes overlap never share a byte.
//
// Greedy by size (Pisarchyk and Lee, "Efficient memory management for deep neural net inference",
// 2020, section 5.2): buffers from the largest to the smallest, each at the lowest offset where it
// fits between those already placed that live at the same time.
#ifndef PARE_RUNTIME_MEMORY_PLAN_H_
#define PARE_RUNTIME_MEMORY_PLAN_H_

#include <cstdint>
#include <vector>

#include "runtime/plan.h"

namespace pare {

// Sets first and last of every buffer from the steps, inputs, outputs and taps, then the offsets
// and plan.arena_bytes; plan.scratch_bytes becomes the largest of the steps' and
// of the row groups'.
void plan_memory(Plan& plan);

}  // namespace pare

#endif  // PARE_RUNTIME_MEMORY_PLAN_H_
