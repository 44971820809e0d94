#include "kernels/norm/norm.h"

#include <fmt/format.h>

#include "kernels/norm/variants.h"

namespace pare {
namespace {

constexpr const NormKernel* kNormKernels[] = {
#define PARE_NORM_KERNEL(symbol) &symbol,
#include "kernels/norm/kernels.inc"
#undef PARE_NORM_KERNEL
};

bool is_float_up_to_32(DType type) {
  return type == DType::kFloat32 || type == DType::kBFloat16 || type == DType::kFloat16;
}

}  // namespace

std::span<const NormKernel* const> norm_kernels() { return kNormKernels; }

Result<Choice<NormKernel>> choose_norm(const NormProblem& p, const KernelRequest& request) {
  const bool to_uint8 = p.dst_type == DType::kUInt8 && p.kind == NormKind::kLayerNorm;
  if (!is_float_up_to_32(p.src_type) || !(is_float_up_to_32(p.dst_type) || to_uint8)) {
    return unsupported(
        fmt::format("norm: none from {} to {}", dtype_name(p.src_type), dtype_name(p.dst_type)));
  }
  if (p.rows < 0 || p.cols < 0) {
    return invalid_argument(fmt::format("norm: negative size in {}x{}", p.rows, p.cols));
  }
  return choose_kernel("norm", norm_kernels(), p, request);
}

void norm_run(const NormKernel& kernel, const NormProblem& problem, const NormArgs& args,
              ThreadPool& pool) {
  kernel.run(kernel, problem, args, pool);
}

}  // namespace pare
