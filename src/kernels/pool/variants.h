// Declares every variant of kernels.inc; for the files of this family alone.
#ifndef PARE_KERNELS_POOL_VARIANTS_H_
#define PARE_KERNELS_POOL_VARIANTS_H_

#include "kernels/pool/pool.h"

namespace pare {

#define PARE_POOL_KERNEL(symbol) extern const PoolKernel symbol;
#include "kernels/pool/kernels.inc"
#undef PARE_POOL_KERNEL

}  // namespace pare

#endif  // PARE_KERNELS_POOL_VARIANTS_H_
