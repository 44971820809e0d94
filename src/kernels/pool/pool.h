// Pooling in two dimensions over channels-last activations: the largest or the mean of each window.
//
// src is [batch, in_h, in_w, channels], dst [batch, out_h, out_w, channels], dense. A global pool
// is a window as large as the image. Elements outside the image never count for the maximum; for
// the mean they count as zero if count_include_pad, else the divisor is the number of those inside.
// (With ceil_mode a window may reach beyond the padding; that part never counts.)
//
// Types: float32, bfloat16 or float16 to the same type; uint8 to uint8 for the maximum (scale and
// zero point stay); for the mean uint8 to uint8 or float32:
//   v = (float(sum of (q - src_zero_point)) / float(count)) * src_scale, then rounding.h if uint8.
// Sums run over the window row by row; bits do not depend on tasks or threads.
#ifndef PARE_KERNELS_POOL_POOL_H_
#define PARE_KERNELS_POOL_POOL_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "pare/status.h"

#include "base/dtype.h"
#include "base/thread_pool.h"
#include "kernels/kernel.h"

namespace pare {

enum class PoolKind : uint8_t { kMax, kAverage };

struct PoolProblem {
  PoolKind kind = PoolKind::kMax;
  int64_t batch = 1;
  int64_t in_h = 0;
  int64_t in_w = 0;
  int64_t channels = 0;
  int64_t out_h = 0;
  int64_t out_w = 0;
  int64_t kernel_h = 1;
  int64_t kernel_w = 1;
  int64_t stride_h = 1;
  int64_t stride_w = 1;
  int64_t dilation_h = 1;
  int64_t dilation_w = 1;
  int64_t pad_top = 0;
  int64_t pad_left = 0;
  int64_t pad_bottom = 0;
  int64_t pad_right = 0;
  bool count_include_pad = false;
  DType src_type = DType::kFloat32;
  DType dst_type = DType::kFloat32;
};

struct PoolArgs {
  const void* src = nullptr;
  void* dst = nullptr;
  float src_scale = 1.0F;  // the mean of uint8
  int32_t src_zero_point = 0;
  float out_scale = 1.0F;  // a uint8 result of the mean
  int32_t out_zero_point = 0;
};

struct PoolKernel {
  const char* name;
  IsaBits needs;
  const char* (*refuse)(const PoolProblem&);
  void (*run)(const PoolKernel&, const PoolProblem&, const PoolArgs&, ThreadPool&);
  const void* rows;
};

std::span<const PoolKernel* const> pool_kernels();
Result<Choice<PoolKernel>> choose_pool(const PoolProblem& problem, const KernelRequest& request);
void pool_run(const PoolKernel& kernel, const PoolProblem& problem, const PoolArgs& args,
              ThreadPool& pool);

}  // namespace pare

#endif  // PARE_KERNELS_POOL_POOL_H_
