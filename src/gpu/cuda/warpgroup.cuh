// The asynchronous tensor-core products of a warpgroup (PTX wgmma, sm_90a): both factors in shared
// memory, rows of 128 bytes of k in the 128-byte swizzle, which is swizzled() of tensor_core.cuh.
#ifndef PARE_GPU_CUDA_WARPGROUP_CUH_
#define PARE_GPU_CUDA_WARPGROUP_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define PARE_WARPGROUPS 1
#endif

namespace pare::gpu::cuda {

// A tile at a multiple of 1024 bytes; eight rows lie 1024 bytes apart from the next eight.
__device__ __forceinline__ uint64_t matrix_at(uint32_t address) {
  return (static_cast<uint64_t>(address & 0x3ffffU) >> 4) | (uint64_t{1} << 16) |
         (uint64_t{64} << 32) | (uint64_t{1} << 62);
}

#if defined(PARE_WARPGROUPS)
__device__ __forceinline__ void begin_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int Pending>
__device__ __forceinline__ void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}
// What cp.async and stores have put into shared memory becomes visible to wgmma.
__device__ __forceinline__ void show_to_products() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

#define PARE_ACC8(x, i) \
  x((i)), x((i) + 1), x((i) + 2), x((i) + 3), x((i) + 4), x((i) + 5), x((i) + 6), x((i) + 7)
#define PARE_ACC32(x, i) \
  PARE_ACC8(x, i), PARE_ACC8(x, (i) + 8), PARE_ACC8(x, (i) + 16), PARE_ACC8(x, (i) + 24)
#define PARE_ACC64(x, i) PARE_ACC32(x, i), PARE_ACC32(x, (i) + 32)
#define PARE_ACC96(x, i) PARE_ACC64(x, i), PARE_ACC32(x, (i) + 64)
#define PARE_ACC128(x, i) PARE_ACC64(x, i), PARE_ACC64(x, (i) + 64)
#define PARE_ACC_FLOAT(i) "+f"(acc[i])
#define PARE_ACC_INT(i) "+r"(acc[i])

#define PARE_REGISTERS32                                                   \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define PARE_REGISTERS64                                                             \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define PARE_REGISTERS96                                                             \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define PARE_REGISTERS128                                                                        \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                       \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "             \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "             \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "             \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "             \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "             \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

// acc[64 x N] += a[64 x 32 bytes] b[N x 32 bytes]^T of the calling warpgroup.
__device__ __forceinline__ void multiply(float (&acc)[32], uint64_t a, uint64_t b, const __half*) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" PARE_REGISTERS32
               "}, %32, %33, 1, 1, 1, 0, 0;"
               : PARE_ACC32(PARE_ACC_FLOAT, 0)
               : "l"(a), "l"(b));
}
__device__ __forceinline__ void multiply(float (&acc)[64], uint64_t a, uint64_t b, const __half*) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" PARE_REGISTERS64
               "}, %64, %65, 1, 1, 1, 0, 0;"
               : PARE_ACC64(PARE_ACC_FLOAT, 0)
               : "l"(a), "l"(b));
}
__device__ __forceinline__ void multiply(float (&acc)[96], uint64_t a, uint64_t b, const __half*) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n192k16.f32.f16.f16 {" PARE_REGISTERS96
               "}, %96, %97, 1, 1, 1, 0, 0;"
               : PARE_ACC96(PARE_ACC_FLOAT, 0)
               : "l"(a), "l"(b));
}
__device__ __forceinline__ void multiply(float (&acc)[128], uint64_t a, uint64_t b, const __half*) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 {" PARE_REGISTERS128
               "}, %128, %129, 1, 1, 1, 0, 0;"
               : PARE_ACC128(PARE_ACC_FLOAT, 0)
               : "l"(a), "l"(b));
}
__device__ __forceinline__ void multiply(float (&acc)[32], uint64_t a, uint64_t b,
                                         const __nv_bfloat16*) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" PARE_REGISTERS32
               "}, %32, %33, 1, 1, 1, 0, 0;"
               : PARE_ACC32(PARE_ACC_FLOAT, 0)
               : "l"(a), "l"(b));
}
__device__ __forceinline__ void multiply(float (&acc)[64], uint64_t a, uint64_t b,
                                         const __nv_bfloat16*) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" PARE_REGISTERS64
               "}, %64, %65, 1, 1, 1, 0, 0;"
               : PARE_ACC64(PARE_ACC_FLOAT, 0)
               : "l"(a), "l"(b));
}
__device__ __forceinline__ void multiply(float (&acc)[96], uint64_t a, uint64_t b,
                                         const __nv_bfloat16*) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {" PARE_REGISTERS96
               "}, %96, %97, 1, 1, 1, 0, 0;"
               : PARE_ACC96(PARE_ACC_FLOAT, 0)
               : "l"(a), "l"(b));
}
__device__ __forceinline__ void multiply(float (&acc)[128], uint64_t a, uint64_t b,
                                         const __nv_bfloat16*) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" PARE_REGISTERS128
               "}, %128, %129, 1, 1, 1, 0, 0;"
               : PARE_ACC128(PARE_ACC_FLOAT, 0)
               : "l"(a), "l"(b));
}
__device__ __forceinline__ void multiply(int (&acc)[32], uint64_t a, uint64_t b, const uint8_t*) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k32.s32.u8.s8 {" PARE_REGISTERS32
               "}, %32, %33, 1;"
               : PARE_ACC32(PARE_ACC_INT, 0)
               : "l"(a), "l"(b));
}
__device__ __forceinline__ void multiply(int (&acc)[64], uint64_t a, uint64_t b, const uint8_t*) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k32.s32.u8.s8 {" PARE_REGISTERS64
               "}, %64, %65, 1;"
               : PARE_ACC64(PARE_ACC_INT, 0)
               : "l"(a), "l"(b));
}
__device__ __forceinline__ void multiply(int (&acc)[96], uint64_t a, uint64_t b, const uint8_t*) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n192k32.s32.u8.s8 {" PARE_REGISTERS96
               "}, %96, %97, 1;"
               : PARE_ACC96(PARE_ACC_INT, 0)
               : "l"(a), "l"(b));
}
__device__ __forceinline__ void multiply(int (&acc)[128], uint64_t a, uint64_t b, const uint8_t*) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n256k32.s32.u8.s8 {" PARE_REGISTERS128
               "}, %128, %129, 1;"
               : PARE_ACC128(PARE_ACC_INT, 0)
               : "l"(a), "l"(b));
}

#undef PARE_REGISTERS32
#undef PARE_REGISTERS64
#undef PARE_REGISTERS96
#undef PARE_REGISTERS128
#undef PARE_ACC_FLOAT
#undef PARE_ACC_INT
#undef PARE_ACC128
#undef PARE_ACC96
#undef PARE_ACC64
#undef PARE_ACC32
#undef PARE_ACC8
#endif  // PARE_WARPGROUPS

}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_WARPGROUP_CUH_
