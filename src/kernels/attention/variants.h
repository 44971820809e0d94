// Declares every variant of kernels.inc; for the files of this family alone.
#ifndef PARE_KERNELS_ATTENTION_VARIANTS_H_
#define PARE_KERNELS_ATTENTION_VARIANTS_H_

#include "kernels/attention/attention.h"
#include "kernels/attention/projected.h"

namespace pare {

#define PARE_ATTENTION_KERNEL(symbol) extern const AttentionKernel symbol;
#define PARE_PROJECTED_KERNEL(symbol) extern const ProjectedKernel symbol;
#include "kernels/attention/kernels.inc"
#undef PARE_ATTENTION_KERNEL
#undef PARE_PROJECTED_KERNEL

}  // namespace pare

#endif  // PARE_KERNELS_ATTENTION_VARIANTS_H_
