// Matrix products: dense layers, Y[M,N] = X[M,K] W[N,K]^T with weights packed once, and products of
// two activations.
//
// Types (src, weights, sums -> dst):
//   float32|bfloat16|float16, float32|bfloat16|float16, float32 -> float32|bfloat16|float16|uint8
//   uint8, int8, int32                                           -> the same
// Sixteen-bit sources are widened to float32, except by variants named bf16dot, which multiply
// bfloat16 pairs directly. What follows the sum is epilogue.h, with N as its n.
//
// Order of summation: every float variant but bf16dot adds the products of one output element one
// by one for k = 0 … K-1 with fused multiply-add, so all of them give the same bits for any M, any
// split into tasks and any number of threads. A zero source element adds nothing (finite weights),
// so variants that skip them agree too; nor does a zero weight (finite source). Integer variants
// are exact.
#ifndef PARE_KERNELS_GEMM_GEMM_H_
#define PARE_KERNELS_GEMM_GEMM_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "pare/status.h"

#include "base/dtype.h"
#include "base/thread_pool.h"
#include "kernels/epilogue.h"
#include "kernels/kernel.h"

namespace pare {

struct GemmProblem {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  DType src_type = DType::kFloat32;
  DType weights_type = DType::kFloat32;
  DType dst_type = DType::kFloat32;
  Activation activation = Activation::kNone;
  bool residual = false;
  // The source follows a ReLU: many of its elements are zero.
  bool sparse_src = false;
  // The share of weights that are not zero.
  double weight_density = 1.0;
};

// Weights as the graph has them, dense.
struct GemmWeights {
  int64_t n = 0;
  int64_t k = 0;
  DType type = DType::kFloat32;
  const void* data = nullptr;
  bool k_major = false;  // true: [K,N], ONNX MatMul; false: [N,K], a Gemm with transB
};

struct GemmArgs {
  const void* src = nullptr;
  int64_t src_stride = 0;             // elements from row to row, at least k
  const std::byte* packed = nullptr;  // gemm_pack's, 64-byte aligned
  void* dst = nullptr;
  int64_t dst_stride = 0;  // elements, at least n
  Epilogue epilogue;
  std::span<std::byte> scratch;  // gemm_scratch_bytes(), 64-byte aligned
  // uint8: the element that stands for zero. A hint, for kernels that leave it out: the sums are
  // those of the elements as they are.
  int32_t src_zero_point = 0;
};

struct GemmKernel {
  const char* name;
  IsaBits needs;
  const char* packing;  // variants with the same packing read the same packed weights
  const char* (*refuse)(const GemmProblem&);
  int64_t (*packed_bytes)(const GemmKernel&, const GemmWeights&);
  void (*pack)(const GemmKernel&, const GemmWeights&, std::byte* packed);
  int64_t (*scratch_bytes)(const GemmKernel&, const GemmProblem&, int threads);
  void (*run)(const GemmKernel&, const GemmProblem&, const GemmArgs&, ThreadPool&);
  const void* tiles;  // the microkernels of `run`, its own business
  // The weights again, [K,N], of the shape and type given; nullptr: cannot be undone. For variants
  // whose packing does not serve every M.
  void (*unpack)(const GemmWeights& shape, const std::byte* packed, std::byte* dense) = nullptr;
};

std::span<const GemmKernel* const> gemm_kernels();
// Fails for types outside the table above.
Result<Choice<GemmKernel>> choose_gemm(const GemmProblem& problem, const KernelRequest& request);

// Packed weights: size first, then gemm_pack fills exactly that many bytes (64-byte aligned).
// Reading weights.data is over when gemm_pack returns.
int64_t gemm_packed_bytes(const GemmKernel& kernel, const GemmWeights& weights);
void gemm_pack(const GemmKernel& kernel, const GemmWeights& weights, std::byte* packed);
int64_t gemm_scratch_bytes(const GemmKernel& kernel, const GemmProblem& problem, int threads);
void gemm_run(const GemmKernel& kernel, const GemmProblem& problem, const GemmArgs& args,
              ThreadPool& pool);

// sums[n] = sum over k of W[n,k], for int8 weights: what the zero point of the source multiplies in
// Epilogue::int_bias. (A dynamically quantised layer computes int_bias[n] = -zero_point * sums[n]
// and multiplier[n] = x_scale * w_scale[n] for each run.)
void gemm_column_sums(const GemmWeights& weights, int32_t* sums);

// Products of two activations, float32, for each i of a batch:
//   dst[i][M,N] = A[i][M,K] B[i][K,N]      (or B[i][N,K]^T with transpose_b), row-major each.
struct MatMulProblem {
  int64_t batch = 1;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  bool transpose_b = false;
};

struct MatMulArgs {
  const float* a = nullptr;
  const float* b = nullptr;
  float* dst = nullptr;  // [batch][M,N], dense
  int64_t a_stride = 0;  // elements from row to row
  int64_t b_stride = 0;
  // Where the matrices of each i begin, in elements; both of size `batch`. Broadcasting repeats
  // offsets.
  std::span<const int64_t> a_offsets;
  std::span<const int64_t> b_offsets;
  std::span<std::byte> scratch;  // matmul_scratch_bytes(), 64-byte aligned
};

struct MatMulKernel {
  const char* name;
  IsaBits needs;
  const char* (*refuse)(const MatMulProblem&);
  int64_t (*scratch_bytes)(const MatMulKernel&, const MatMulProblem&, int threads);
  void (*run)(const MatMulKernel&, const MatMulProblem&, const MatMulArgs&, ThreadPool&);
  const void* tiles;
};

std::span<const MatMulKernel* const> matmul_kernels();
Result<Choice<MatMulKernel>> choose_matmul(const MatMulProblem& problem,
                                           const KernelRequest& request);
int64_t matmul_scratch_bytes(const MatMulKernel& kernel, const MatMulProblem& problem, int threads);
void matmul_run(const MatMulKernel& kernel, const MatMulProblem& problem, const MatMulArgs& args,
                ThreadPool& pool);

}  // namespace pare

#endif  // PARE_KERNELS_GEMM_GEMM_H_
