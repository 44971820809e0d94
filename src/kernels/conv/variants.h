// Declares every variant of kernels.inc; for the files of this family alone.
#ifndef PARE_KERNELS_CONV_VARIANTS_H_
#define PARE_KERNELS_CONV_VARIANTS_H_

#include "kernels/conv/conv.h"

namespace pare {

#define PARE_CONV_KERNEL(symbol) extern const ConvKernel symbol;
#include "kernels/conv/kernels.inc"
#undef PARE_CONV_KERNEL

}  // namespace pare

#endif  // PARE_KERNELS_CONV_VARIANTS_H_
