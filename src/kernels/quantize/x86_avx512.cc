// Quantisation loops for AVX-512 (flags in family.cmake).
#include "kernels/quantize/loops.h"

namespace pare {
namespace {

#include "kernels/quantize/loops_vector.inl"

}  // namespace

extern const QuantizeLoops kAvx512QuantizeLoops;
const QuantizeLoops kAvx512QuantizeLoops = {min_max_loop, quantise_loop};

}  // namespace pare
