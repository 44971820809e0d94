// V of the widest instruction set that the including file is compiled for.
#ifndef PARE_KERNELS_SIMD_VEC_H_
#define PARE_KERNELS_SIMD_VEC_H_

#if defined(__AVX512F__)
#include "kernels/simd/vec_avx512.h"
#elif defined(__AVX2__)
#include "kernels/simd/vec_avx2.h"
#elif defined(__aarch64__)
#include "kernels/simd/vec_neon.h"
#else
#error "vec.h is for files compiled for AVX2, AVX-512 or NEON"
#endif

#endif  // PARE_KERNELS_SIMD_VEC_H_
