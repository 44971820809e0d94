// Declares every variant of kernels.inc; for the files of this family alone.
#ifndef PARE_KERNELS_ATTENTION_VARIANTS_H_
#define PARE_KERNELS_ATTENTION_VARIANTS_H_

#include "kernels/attention/attention.h"

namespace pare {

#define PARE_ATTENTION_KERNEL(symbol) extern const AttentionKernel symbol;
#include "kernels/attention/kernels.inc"
#undef PARE_ATTENTION_KERNEL

}  // namespace pare

#endif  // PARE_KERNELS_ATTENTION_VARIANTS_H_
