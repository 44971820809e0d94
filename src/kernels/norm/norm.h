// Normalisations along rows: layer norm and softmax.
//
//   layer norm   dst[r, c] = (src[r, c] - mean_r) / sqrt(var_r + epsilon) * gamma[c] + beta[c]
//                var_r is the mean of the squared differences from mean_r (two passes, no E[x^2])
//   softmax      dst[r, c] = exp(src[r, c] - max_r) / sum over c of exp(src[r, c] - max_r)
//   log softmax  dst[r, c] = src[r, c] - max_r - log(sum over c of exp(src[r, c] - max_r))
//
// Rows are dense. Sums of a row are kept in sixteen float32 lanes (lane c mod 16) that are added
// pairwise at the end, whatever the instruction set; bits do not depend on tasks or threads.
// src is float32, bfloat16 or float16; dst those or, for layer norm, uint8 (rounding.h).
#ifndef PARE_KERNELS_NORM_NORM_H_
#define PARE_KERNELS_NORM_NORM_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "pare/status.h"

#include "base/dtype.h"
#include "base/thread_pool.h"
#include "kernels/kernel.h"

namespace pare {

enum class NormKind : uint8_t { kLayerNorm, kSoftmax, kLogSoftmax };

struct NormProblem {
  NormKind kind = NormKind::kLayerNorm;
  int64_t rows = 0;
  int64_t cols = 0;
  float epsilon = 0.0F;  // layer norm
  DType src_type = DType::kFloat32;
  DType dst_type = DType::kFloat32;
};

struct NormArgs {
  const void* src = nullptr;
  const float* gamma = nullptr;  // layer norm: cols each; absent: 1
  const float* beta = nullptr;   // absent: 0
  void* dst = nullptr;           // may be src itself when the types are equal
  float out_scale = 1.0F;        // for a uint8 result
  int32_t out_zero_point = 0;
};

struct NormKernel {
  const char* name;
  IsaBits needs;
  const char* (*refuse)(const NormProblem&);
  void (*run)(const NormKernel&, const NormProblem&, const NormArgs&, ThreadPool&);
  const void* rows;
};

std::span<const NormKernel* const> norm_kernels();
Result<Choice<NormKernel>> choose_norm(const NormProblem& problem, const KernelRequest& request);
void norm_run(const NormKernel& kernel, const NormProblem& problem, const NormArgs& args,
              ThreadPool& pool);

}  // namespace pare

#endif  // PARE_KERNELS_NORM_NORM_H_
