// Quantisation loops for AVX2 (flags in family.cmake).
#include "kernels/quantize/loops.h"

namespace pare {
namespace {

#include "kernels/quantize/loops_vector.inl"

}  // namespace

extern const QuantizeLoops kAvx2QuantizeLoops;
const QuantizeLoops kAvx2QuantizeLoops = {min_max_loop, quantise_loop};

}  // namespace pare
