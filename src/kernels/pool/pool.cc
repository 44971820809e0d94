#include "kernels/pool/pool.h"

#include <fmt/format.h>

#include "kernels/pool/variants.h"

namespace pare {
namespace {

constexpr const PoolKernel* kPoolKernels[] = {
#define PARE_POOL_KERNEL(symbol) &symbol,
#include "kernels/pool/kernels.inc"
#undef PARE_POOL_KERNEL
};

bool types_fit(const PoolProblem& p) {
  if (p.src_type == DType::kUInt8) {
    return p.dst_type == DType::kUInt8 ||
           (p.dst_type == DType::kFloat32 && p.kind == PoolKind::kAverage);
  }
  return p.src_type == p.dst_type &&
         (p.src_type == DType::kFloat32 || p.src_type == DType::kBFloat16 ||
          p.src_type == DType::kFloat16);
}

bool sizes_fit(const PoolProblem& p) {
  return p.batch >= 0 && p.in_h >= 0 && p.in_w >= 0 && p.channels >= 0 && p.out_h >= 0 &&
         p.out_w >= 0 && p.kernel_h >= 1 && p.kernel_w >= 1 && p.stride_h >= 1 && p.stride_w >= 1 &&
         p.dilation_h >= 1 && p.dilation_w >= 1 && p.pad_top >= 0 && p.pad_left >= 0 &&
         p.pad_bottom >= 0 && p.pad_right >= 0;
}

}  // namespace

std::span<const PoolKernel* const> pool_kernels() { return kPoolKernels; }

Result<Choice<PoolKernel>> choose_pool(const PoolProblem& p, const KernelRequest& request) {
  if (!types_fit(p)) {
    return unsupported(
        fmt::format("pool: none from {} to {}", dtype_name(p.src_type), dtype_name(p.dst_type)));
  }
  if (!sizes_fit(p)) return invalid_argument("pool: a size, stride or padding out of range");
  return choose_kernel("pool", pool_kernels(), p, request);
}

void pool_run(const PoolKernel& kernel, const PoolProblem& problem, const PoolArgs& args,
              ThreadPool& pool) {
  kernel.run(kernel, problem, args, pool);
}

}  // namespace pare
