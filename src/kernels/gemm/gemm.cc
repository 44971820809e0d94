#include "kernels/gemm/gemm.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "kernels/gemm/variants.h"
#include "kernels/scalar.h"

namespace pare {
namespace {

constexpr const GemmKernel* kGemmKernels[] = {
#define PARE_GEMM_KERNEL(symbol) &symbol,
#define PARE_MATMUL_KERNEL(symbol)
#include "kernels/gemm/kernels.inc"
#undef PARE_GEMM_KERNEL
#undef PARE_MATMUL_KERNEL
};

constexpr const MatMulKernel* kMatMulKernels[] = {
#define PARE_GEMM_KERNEL(symbol)
#define PARE_MATMUL_KERNEL(symbol) &symbol,
#include "kernels/gemm/kernels.inc"
#undef PARE_GEMM_KERNEL
#undef PARE_MATMUL_KERNEL
};

bool is_float_up_to_32(DType type) {
  return type == DType::kFloat32 || type == DType::kBFloat16 || type == DType::kFloat16;
}

bool types_fit(const GemmProblem& p) {
  const bool dst = is_float_up_to_32(p.dst_type) || p.dst_type == DType::kUInt8;
  if (p.weights_type == DType::kInt8) return p.src_type == DType::kUInt8 && dst;
  return is_float_up_to_32(p.weights_type) && is_float_up_to_32(p.src_type) && dst;
}

}  // namespace

std::span<const GemmKernel* const> gemm_kernels() { return kGemmKernels; }
std::span<const MatMulKernel* const> matmul_kernels() { return kMatMulKernels; }

Result<Choice<GemmKernel>> choose_gemm(const GemmProblem& p, const KernelRequest& request) {
  if (!types_fit(p)) {
    return unsupported(fmt::format("gemm: no product of {} by {} to {}", dtype_name(p.src_type),
                                   dtype_name(p.weights_type), dtype_name(p.dst_type)));
  }
  if (p.m < 0 || p.n < 0 || p.k < 0) {
    return invalid_argument(fmt::format("gemm: negative size in {}x{}x{}", p.m, p.n, p.k));
  }
  PARE_ASSIGN_OR_RETURN(auto choice, choose_kernel("gemm", gemm_kernels(), p, request));
  if (choice.kernel->packing == std::string_view("columns")) {
    choice.reason += ": weights of inputs that are zero after the ReLU are not read";
  }
  return choice;
}

int64_t gemm_packed_bytes(const GemmKernel& kernel, const GemmWeights& weights) {
  return kernel.packed_bytes(kernel, weights);
}

void gemm_pack(const GemmKernel& kernel, const GemmWeights& weights, std::byte* packed) {
  kernel.pack(kernel, weights, packed);
}

int64_t gemm_scratch_bytes(const GemmKernel& kernel, const GemmProblem& problem, int threads) {
  return kernel.scratch_bytes(kernel, problem, threads);
}

void gemm_run(const GemmKernel& kernel, const GemmProblem& problem, const GemmArgs& args,
              ThreadPool& pool) {
  kernel.run(kernel, problem, args, pool);
}

void gemm_column_sums(const GemmWeights& w, int32_t* sums) {
  const auto* data = static_cast<const int8_t*>(w.data);
  if (!w.k_major) {
    for (int64_t n = 0; n < w.n; ++n) sums[n] = sum_of_bytes(data + n * w.k, w.k);
    return;
  }
  std::fill_n(sums, w.n, 0);
  for (int64_t k = 0; k < w.k; ++k) {
    for (int64_t n = 0; n < w.n; ++n) sums[n] += data[k * w.n + n];
  }
}

Result<Choice<MatMulKernel>> choose_matmul(const MatMulProblem& p, const KernelRequest& request) {
  if (p.batch < 0 || p.m < 0 || p.n < 0 || p.k < 0) {
    return invalid_argument(
        fmt::format("matmul: negative size in {} of {}x{}x{}", p.batch, p.m, p.n, p.k));
  }
  return choose_kernel("matmul", matmul_kernels(), p, request);
}

int64_t matmul_scratch_bytes(const MatMulKernel& kernel, const MatMulProblem& problem,
                             int threads) {
  return kernel.scratch_bytes(kernel, problem, threads);
}

void matmul_run(const MatMulKernel& kernel, const MatMulProblem& problem, const MatMulArgs& args,
                ThreadPool& pool) {
  kernel.run(kernel, problem, args, pool);
}

}  // namespace pare
