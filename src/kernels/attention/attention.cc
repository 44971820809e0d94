#include "kernels/attention/attention.h"

#include <fmt/format.h>

#include "kernels/attention/projected.h"
#include "kernels/attention/variants.h"

namespace pare {
namespace {

constexpr const AttentionKernel* kAttentionKernels[] = {
#define PARE_ATTENTION_KERNEL(symbol) &symbol,
#define PARE_PROJECTED_KERNEL(symbol)
#include "kernels/attention/kernels.inc"
#undef PARE_ATTENTION_KERNEL
#undef PARE_PROJECTED_KERNEL
};

constexpr const ProjectedKernel* kProjectedKernels[] = {
#define PARE_ATTENTION_KERNEL(symbol)
#define PARE_PROJECTED_KERNEL(symbol) &symbol,
#include "kernels/attention/kernels.inc"
#undef PARE_ATTENTION_KERNEL
#undef PARE_PROJECTED_KERNEL
};

}  // namespace

std::span<const AttentionKernel* const> attention_kernels() { return kAttentionKernels; }

Result<Choice<AttentionKernel>> choose_attention(const AttentionProblem& p,
                                                 const KernelRequest& request) {
  if (p.dst_type != DType::kFloat32 && p.dst_type != DType::kBFloat16 &&
      p.dst_type != DType::kFloat16 && p.dst_type != DType::kUInt8) {
    return unsupported(fmt::format("attention: no result of type {}", dtype_name(p.dst_type)));
  }
  if (p.batch < 0 || p.heads < 0 || p.q_tokens < 0 || p.kv_tokens < 1 || p.qk_dim < 0 ||
      p.v_dim < 0) {
    return invalid_argument(fmt::format(
        "attention: {} images, {} heads, {} queries, {} keys of size {}, values of size "
        "{}: sizes must not be negative and there must be a key",
        p.batch, p.heads, p.q_tokens, p.kv_tokens, p.qk_dim, p.v_dim));
  }
  return choose_kernel("attention", attention_kernels(), p, request);
}

int64_t attention_scratch_bytes(const AttentionKernel& kernel, const AttentionProblem& problem,
                                int threads) {
  return kernel.scratch_bytes(kernel, problem, threads);
}

void attention_run(const AttentionKernel& kernel, const AttentionProblem& problem,
                   const AttentionArgs& args, ThreadPool& pool) {
  kernel.run(kernel, problem, args, pool);
}

std::span<const ProjectedKernel* const> projected_kernels() { return kProjectedKernels; }

Result<Choice<ProjectedKernel>> choose_projected(const ProjectedProblem& p,
                                                 const KernelRequest& request) {
  const AttentionProblem& a = p.attention;
  if (p.product.m != a.batch * a.q_tokens || p.product.n != a.heads * (2 * a.qk_dim + a.v_dim)) {
    return invalid_argument(
        fmt::format("projected attention: a product of {}x{} for {} images of {} tokens, {} heads "
                    "of {} and {}",
                    p.product.m, p.product.n, a.batch, a.q_tokens, a.heads, a.qk_dim, a.v_dim));
  }
  return choose_kernel("projected attention", projected_kernels(), p, request);
}

int64_t projected_scratch_bytes(const ProjectedKernel& kernel, const ProjectedProblem& problem,
                                int threads) {
  return kernel.scratch_bytes(kernel, problem, threads);
}

void projected_run(const ProjectedKernel& kernel, const ProjectedProblem& problem,
                   const ProjectedArgs& args, ThreadPool& pool) {
  kernel.run(kernel, problem, args, pool);
}

}  // namespace pare
