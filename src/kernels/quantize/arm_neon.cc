// Quantisation loops for NEON, which every compiler for 64-bit ARM vectorises for.
#include "kernels/quantize/loops.h"

namespace pare {
namespace {

#include "kernels/quantize/loops_vector.inl"

}  // namespace

extern const QuantizeLoops kNeonQuantizeLoops;
const QuantizeLoops kNeonQuantizeLoops = {min_max_loop, quantise_loop};

}  // namespace pare
