#include "kernels/conv/conv.h"

#include <fmt/format.h>

#include "kernels/conv/variants.h"
#include "kernels/scalar.h"

namespace pare {
namespace {

constexpr const ConvKernel* kConvKernels[] = {
#define PARE_CONV_KERNEL(symbol) &symbol,
#include "kernels/conv/kernels.inc"
#undef PARE_CONV_KERNEL
};

bool is_float_up_to_32(DType type) {
  return type == DType::kFloat32 || type == DType::kBFloat16 || type == DType::kFloat16;
}

bool types_fit(const ConvProblem& p) {
  if (!is_float_up_to_32(p.dst_type) && p.dst_type != DType::kUInt8) return false;
  if (p.weights_type == DType::kInt8) return p.src_type == DType::kUInt8;
  return is_float_up_to_32(p.weights_type) &&
         (is_float_up_to_32(p.src_type) || p.src_type == DType::kUInt8);
}

bool sizes_fit(const ConvProblem& p) {
  if (p.batch < 0 || p.in_c < 0 || p.out_c < 0 || p.kernel_h < 1 || p.kernel_w < 1) return false;
  if (p.stride_h < 1 || p.stride_w < 1 || p.dilation_h < 1 || p.dilation_w < 1) return false;
  if (p.pad_top < 0 || p.pad_left < 0 || p.pad_bottom < 0 || p.pad_right < 0) return false;
  if (p.groups < 1 || p.in_c % p.groups != 0 || p.out_c % p.groups != 0) return false;
  return p.out_h == conv_out_size(p.in_h, p.pad_top + p.pad_bottom, p.kernel_h, p.stride_h,
                                  p.dilation_h) &&
         p.out_w ==
             conv_out_size(p.in_w, p.pad_left + p.pad_right, p.kernel_w, p.stride_w, p.dilation_w);
}

}  // namespace

int64_t conv_out_size(int64_t in, int64_t pads, int64_t kernel, int64_t stride, int64_t dilation) {
  const int64_t room = in + pads - ((kernel - 1) * dilation + 1);
  return room < 0 ? 0 : room / stride + 1;
}

std::span<const ConvKernel* const> conv_kernels() { return kConvKernels; }

Result<Choice<ConvKernel>> choose_conv(const ConvProblem& p, const KernelRequest& request) {
  if (!types_fit(p)) {
    return unsupported(fmt::format("conv: no convolution of {} by {} to {}", dtype_name(p.src_type),
                                   dtype_name(p.weights_type), dtype_name(p.dst_type)));
  }
  if (!sizes_fit(p)) {
    return invalid_argument(fmt::format(
        "conv: {}x{}x{} by a {}x{} kernel (strides {}x{}, dilations {}x{}, pads {},{},{},{}, {} "
        "groups) does not give {}x{}x{}",
        p.in_h, p.in_w, p.in_c, p.kernel_h, p.kernel_w, p.stride_h, p.stride_w, p.dilation_h,
        p.dilation_w, p.pad_top, p.pad_left, p.pad_bottom, p.pad_right, p.groups, p.out_h, p.out_w,
        p.out_c));
  }
  return choose_kernel("conv", conv_kernels(), p, request);
}

int64_t conv_packed_bytes(const ConvKernel& kernel, const ConvProblem& problem,
                          const void* weights) {
  return kernel.packed_bytes(kernel, problem, weights);
}

void conv_pack(const ConvKernel& kernel, const ConvProblem& problem, const void* weights,
               std::byte* packed) {
  kernel.pack(kernel, problem, weights, packed);
}

int64_t conv_scratch_bytes(const ConvKernel& kernel, const ConvProblem& problem, int threads) {
  return kernel.scratch_bytes(kernel, problem, threads);
}

void conv_run(const ConvKernel& kernel, const ConvProblem& problem, const ConvArgs& args,
              ThreadPool& pool) {
  kernel.run(kernel, problem, args, pool);
}

void conv_channel_sums(const ConvProblem& p, const int8_t* weights, int32_t* sums) {
  const int64_t terms = p.in_c / p.groups * p.kernel_h * p.kernel_w;
  for (int64_t o = 0; o < p.out_c; ++o) sums[o] = sum_of_bytes(weights + o * terms, terms);
}

}  // namespace pare
