// Declares every variant of kernels.inc; for the files of this family alone.
#ifndef PARE_KERNELS_NORM_VARIANTS_H_
#define PARE_KERNELS_NORM_VARIANTS_H_

#include "kernels/norm/norm.h"

namespace pare {

#define PARE_NORM_KERNEL(symbol) extern const NormKernel symbol;
#include "kernels/norm/kernels.inc"
#undef PARE_NORM_KERNEL

}  // namespace pare

#endif  // PARE_KERNELS_NORM_VARIANTS_H_
