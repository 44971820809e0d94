// Self-attention together with the product that makes its queries, keys and values:
//
//   [q k v] = x W^T  (gemm.h and epilogue.h; row b * tokens + i is token i of image b),
//   dst     = attention(q, k, v)  (attention.h)
//
// The columns of the product are the queries of all heads one after the other, then the keys, then
// the values. One task multiplies the columns of one head for one image and attends to them while
// they lie in the cache: q, k and v, three to twelve times as large as x, are never written. The
// result has the bits of gemm_run() followed by attention_run().
#ifndef PARE_KERNELS_ATTENTION_PROJECTED_H_
#define PARE_KERNELS_ATTENTION_PROJECTED_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "pare/status.h"

#include "base/thread_pool.h"
#include "kernels/attention/attention.h"
#include "kernels/gemm/gemm.h"
#include "kernels/kernel.h"

namespace pare {

struct ProjectedProblem {
  AttentionProblem attention;  // as many keys as queries
  // m = batch * tokens, n = heads * (2 * qk_dim + v_dim); a float32 result without activation and
  // residual.
  GemmProblem product;
  const char* packing = "";  // of the product's weights (GemmKernel)
};

struct ProjectedArgs {
  GemmArgs product;  // without destination and scratch
  void* dst = nullptr;
  AttentionStrides dst_strides;
  float out_scale = 1.0F;  // for a uint8 result
  int32_t out_zero_point = 0;
  std::span<std::byte> scratch;  // projected_scratch_bytes(), 64-byte aligned
};

struct ProjectedKernel {
  const char* name;
  IsaBits needs;
  const char* (*refuse)(const ProjectedProblem&);
  int64_t (*scratch_bytes)(const ProjectedKernel&, const ProjectedProblem&, int threads);
  void (*run)(const ProjectedKernel&, const ProjectedProblem&, const ProjectedArgs&, ThreadPool&);
  const void* tiles;
};

std::span<const ProjectedKernel* const> projected_kernels();
// Fails where none takes the packing or the heads: product and attention then run one by one.
Result<Choice<ProjectedKernel>> choose_projected(const ProjectedProblem& problem,
                                                 const KernelRequest& request);
int64_t projected_scratch_bytes(const ProjectedKernel& kernel, const ProjectedProblem& problem,
                                int threads);
void projected_run(const ProjectedKernel& kernel, const ProjectedProblem& problem,
                   const ProjectedArgs& args, ThreadPool& pool);

}  // namespace pare

#endif  // PARE_KERNELS_ATTENTION_PROJECTED_H_
