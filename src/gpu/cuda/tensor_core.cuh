// Pieces of shared memory, asynchronous copies and tensor-core products (PTX, sm_80 and later).
#ifndef PARE_GPU_CUDA_TENSOR_CORE_CUH_
#define PARE_GPU_CUDA_TENSOR_CORE_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace pare::gpu::cuda {

// kCached: by way of the first-level cache, for what is read again soon.
enum class Copy { kOnce, kCached };

template <int Bytes, Copy How = Copy::kOnce>
__device__ __forceinline__ void copy_async(uint32_t to, const void* from, bool valid) {
  const int size = valid ? Bytes : 0;  // the rest is filled with zeros
  if constexpr (Bytes == 16 && How == Copy::kOnce) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(size));
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(to), "l"(from), "r"(size),
                 "n"(Bytes));
  }
}
__device__ __forceinline__ void commit() { asm volatile("cp.async.commit_group;"); }
template <int N>
__device__ __forceinline__ void wait_group() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], uint32_t at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at)
               : "memory");
}
__device__ __forceinline__ void load_transposed(uint32_t (&r)[4], uint32_t at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at)
               : "memory");
}

#define PARE_MMA(text)                                                                           \
  asm volatile("mma.sync.aligned." text " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
               : PARE_MMA_ACC(c[0]), PARE_MMA_ACC(c[1]), PARE_MMA_ACC(c[2]), PARE_MMA_ACC(c[3])  \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
#define PARE_MMA_ACC(x) "+f"(x)
__device__ __forceinline__ void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1, const __half*) {
  PARE_MMA("m16n8k16.row.col.f32.f16.f16.f32");
}
__device__ __forceinline__ void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1, const __nv_bfloat16*) {
  PARE_MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
}
__device__ __forceinline__ void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1, const float*) {
  PARE_MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
}
#undef PARE_MMA_ACC
#define PARE_MMA_ACC(x) "+r"(x)
__device__ __forceinline__ void multiply(int (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1, const uint8_t*) {
  PARE_MMA("m16n8k32.row.col.s32.u8.s8.s32");
}
#undef PARE_MMA_ACC
#undef PARE_MMA

// Byte of piece `piece` (sixteen bytes) of row `row` in a tile of rows of 128 bytes: neighbouring
// rows put the same piece into different banks.
__device__ __forceinline__ uint32_t swizzled(int row, int piece) {
  return static_cast<uint32_t>(row * 128 + ((piece ^ (row & 7)) << 4));
}

}  // namespace pare::gpu::cuda

#endif  // PARE_GPU_CUDA_TENSOR_CORE_CUH_
