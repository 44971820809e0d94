// Attention of one layer, whole heads in cache:
//
//   dst[b, i, h] = sum over j of softmax_j(scale * <q[b, i, h], k[b, j, h]>) * v[b, j, h]
//
// q, k and v are float32 and lie anywhere: element (b, token, head, d) of q stands at
//   b * batch_stride + token * token_stride + head * head_stride + d
// so the parts of one fused QKV product are read in place. One task computes one head of one image;
// sums over d and over j are in ascending order with fused multiply-add, the softmax subtracts the
// row's largest score first. The result is float32, bfloat16, float16 or uint8 (rounding.h).
#ifndef PARE_KERNELS_ATTENTION_ATTENTION_H_
#define PARE_KERNELS_ATTENTION_ATTENTION_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "pare/status.h"

#include "base/dtype.h"
#include "base/thread_pool.h"
#include "kernels/kernel.h"

namespace pare {

struct AttentionProblem {
  int64_t batch = 1;
  int64_t heads = 1;
  int64_t q_tokens = 0;
  int64_t kv_tokens = 0;
  int64_t qk_dim = 0;  // of q and k, in one head
  int64_t v_dim = 0;   // of v and dst, in one head
  float scale = 1.0F;
  DType dst_type = DType::kFloat32;
};

struct AttentionStrides {  // in elements
  int64_t batch = 0;
  int64_t token = 0;
  int64_t head = 0;
};

struct AttentionArgs {
  const float* q = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  void* dst = nullptr;
  AttentionStrides q_strides;
  AttentionStrides k_strides;
  AttentionStrides v_strides;
  AttentionStrides dst_strides;
  float out_scale = 1.0F;  // for a uint8 result
  int32_t out_zero_point = 0;
  std::span<std::byte> scratch;  // attention_scratch_bytes(), 64-byte aligned
};

struct AttentionKernel {
  const char* name;
  IsaBits needs;
  const char* (*refuse)(const AttentionProblem&);
  int64_t (*scratch_bytes)(const AttentionKernel&, const AttentionProblem&, int threads);
  void (*run)(const AttentionKernel&, const AttentionProblem&, const AttentionArgs&, ThreadPool&);
  const void* tiles;
};

std::span<const AttentionKernel* const> attention_kernels();
Result<Choice<AttentionKernel>> choose_attention(const AttentionProblem& problem,
                                                 const KernelRequest& request);
int64_t attention_scratch_bytes(const AttentionKernel& kernel, const AttentionProblem& problem,
                                int threads);
void attention_run(const AttentionKernel& kernel, const AttentionProblem& problem,
                   const AttentionArgs& args, ThreadPool& pool);

}  // namespace pare

#endif  // PARE_KERNELS_ATTENTION_ATTENTION_H_
