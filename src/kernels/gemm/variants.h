// Declares every variant of kernels.inc; for the files of this family alone.
#ifndef PARE_KERNELS_GEMM_VARIANTS_H_
#define PARE_KERNELS_GEMM_VARIANTS_H_

#include "kernels/gemm/gemm.h"

namespace pare {

#define PARE_GEMM_KERNEL(symbol) extern const GemmKernel symbol;
#define PARE_MATMUL_KERNEL(symbol) extern const MatMulKernel symbol;
#include "kernels/gemm/kernels.inc"
#undef PARE_GEMM_KERNEL
#undef PARE_MATMUL_KERNEL

}  // namespace pare

#endif  // PARE_KERNELS_GEMM_VARIANTS_H_
