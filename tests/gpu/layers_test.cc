// Attention, norms, pools and whole transformers of the GPU against the processor's references.
#include <gtest/gtest.h>

#include <cmath>

#include "gpu/cuda/attention/variants.h"
#include "kernels/attention/attention.h"
#include "kernels/norm/norm.h"
#include "kernels/pool/pool.h"
#include "testing/compare.h"
#include "tests/gpu/on_gpu.h"

namespace pare::gpu::cuda {
namespace {

using namespace testing_compare;
using namespace testing_operands;

constexpr DType kFloats[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

// Values of a type, and the same as float32 for a reference that reads only those.
std::vector<float> widened(DType type, GuardedBuffer& buffer) { return as_floats(type, buffer); }

class LayersOnGpu : public testing_gpu::OnGpu {
 protected:
  void attention(AttentionProblem p, DType type);
  void norm(int64_t rows, int64_t cols, NormKind kind, DType type);
  void pool(PoolProblem p);
  VariantTally tally_{"GPU layers"};
};

void LayersOnGpu::attention(AttentionProblem p, DType type) {
  Rng rng(48, RngPurpose::kTest, static_cast<uint64_t>(p.kv_tokens));
  const int64_t q_token = p.heads * p.qk_dim;
  const int64_t kv_token = p.heads * (p.qk_dim + p.v_dim);
  GuardedBuffer q = random_operand(rng, type, p.batch * p.q_tokens * q_token);
  GuardedBuffer kv = random_operand(rng, type, p.batch * p.kv_tokens * kv_token);
  const std::vector<float> q_wide = widened(type, q);
  const std::vector<float> kv_wide = widened(type, kv);
  const int64_t count = p.batch * p.q_tokens * p.heads * p.v_dim;
  if (count == 0) return;
  GuardedBuffer want(count * dtype_bytes(p.dst_type));
  const AttentionKernel& kernel = *attention_kernels().back();
  GuardedBuffer scratch((attention_scratch_bytes(kernel, p, 1) + 63) / 64 * 64);
  AttentionArgs args;
  args.q = q_wide.data();
  args.k = kv_wide.data();
  args.v = kv_wide.data() + p.heads * p.qk_dim;
  args.dst = want.data();
  args.q_strides = {p.q_tokens * q_token, q_token, p.qk_dim};
  args.k_strides = {p.kv_tokens * kv_token, kv_token, p.qk_dim};
  args.v_strides = {p.kv_tokens * kv_token, kv_token, p.v_dim};
  args.dst_strides = {p.q_tokens * p.heads * p.v_dim, p.heads * p.v_dim, p.v_dim};
  args.out_scale = 0.01F;
  args.out_zero_point = 128;
  args.scratch = scratch.bytes();
  ThreadPool pool_of_one(1);
  attention_run(kernel, p, args, pool_of_one);

  const auto narrow = [](int64_t v) { return static_cast<int32_t>(v); };
  AttentionOp op;
  op.q = upload(q, type);
  op.k = upload(kv, type);
  op.v = op.k;
  op.v.offset += p.heads * p.qk_dim * dtype_bytes(type);
  op.q_strides[0] = p.q_tokens * q_token;
  op.q_strides[1] = q_token;
  op.k_strides[0] = op.v_strides[0] = p.kv_tokens * kv_token;
  op.k_strides[1] = op.v_strides[1] = kv_token;
  op.batch = narrow(p.batch);
  op.heads = narrow(p.heads);
  op.q_tokens = narrow(p.q_tokens);
  op.kv_tokens = narrow(p.kv_tokens);
  op.qk_dim = narrow(p.qk_dim);
  op.v_dim = narrow(p.v_dim);
  op.scale = p.scale;
  op.rounding = {0.01F, 128, 0, 255};
  const auto run = [&](const char* name, auto&& launch_it) {
    op.dst = allocate(count, p.dst_type);
    SCOPED_TRACE(std::string(name) + ": " + std::to_string(p.q_tokens) + " by " +
                 std::to_string(p.kv_tokens) + " tokens, " + dtype_name(type));
    if (!finished(launch_it())) return;
    tally_.ran(name);
    Tolerance t = product_tolerance(p.qk_dim + p.kv_tokens, 1.0, p.scale, p.dst_type, 8.0);
    t.absolute += 8 * storage_epsilon(type);  // the shares, rounded before they multiply values
    if (p.dst_type == DType::kUInt8) t = {1.0, 0.0};
    EXPECT_TRUE(all_close(download(op.dst, count), as_floats(p.dst_type, want), t));
  };
  run("attention_simple", [&] { return launch_simple_attention(op, how_); });
  if (takes_tensor_attention(op)) {
    run("attention_tensor", [&] { return launch_tensor_attention(op, how_); });
  }
  forget();
}

TEST_F(LayersOnGpu, AttentionAgreesWithTheReference) {
  for (const DType type : kFloats) {
    for (const DType dst : {type, DType::kUInt8}) {
#define PARE_ATTENTION_CASE(batch, heads, q, kv, d, v) \
  attention({batch, heads, q, kv, d, v, 1.0F / std::sqrt(static_cast<float>(d) + 1.0F), dst}, type);
#include "kernels/attention/cases.inc"
#undef PARE_ATTENTION_CASE
      attention({64, 12, 25, 25, 64, 64, 0.125F, dst}, type);  // several heads a block
    }
  }
}

void LayersOnGpu::norm(int64_t rows, int64_t cols, NormKind kind, DType type) {
  Rng rng(49, RngPurpose::kTest, static_cast<uint64_t>(cols));
  GuardedBuffer src = random_operand(rng, type, rows * cols);
  GuardedBuffer gamma = GuardedBuffer::of(random_floats(rng, cols, 0.5F, 1.5F));
  GuardedBuffer beta = GuardedBuffer::of(random_floats(rng, cols, -1.0F, 1.0F));
  GuardedBuffer want(rows * cols * dtype_bytes(type));
  const NormProblem p{kind, rows, cols, 1e-5F, type, type};
  NormArgs args;
  args.src = src.data();
  args.gamma = gamma.as<float>();
  args.beta = beta.as<float>();
  args.dst = want.data();
  ThreadPool pool_of_one(1);
  norm_run(*norm_kernels().back(), p, args, pool_of_one);
  if (rows * cols == 0) return;
  RowsOp op;
  op.kind = static_cast<RowKind>(kind);
  op.rows = rows;
  op.cols = static_cast<int32_t>(cols);
  op.epsilon = p.epsilon;
  op.src = upload(src, type);
  if (kind == NormKind::kLayerNorm) {
    op.gamma = upload(gamma, DType::kFloat32);
    op.beta = upload(beta, DType::kFloat32);
  }
  op.dst = allocate(rows * cols, type);
  SCOPED_TRACE(std::to_string(rows) + " rows of " + std::to_string(cols) + ", " + dtype_name(type));
  if (!finished(launch(op, how_))) return;
  tally_.ran("rows");
  const Tolerance t{4e-5, 4 * storage_epsilon(type)};
  EXPECT_TRUE(all_close(download(op.dst, rows * cols), as_floats(type, want), t));
  forget();
}

TEST_F(LayersOnGpu, NormsAgreeWithTheReference) {
  for (const DType type : kFloats) {
    for (const NormKind kind : {NormKind::kLayerNorm, NormKind::kSoftmax, NormKind::kLogSoftmax}) {
#define PARE_NORM_CASE(rows, cols) norm(rows, cols, kind, type);
#include "kernels/norm/cases.inc"
#undef PARE_NORM_CASE
      for (const int64_t cols : {64, 128, 192, 384, 768, 1024, 1280, 3000}) {
        norm(33, cols, kind, type);
      }
    }
  }
}

void LayersOnGpu::pool(PoolProblem p) {
  Rng rng(50, RngPurpose::kTest, static_cast<uint64_t>(p.in_h));
  GuardedBuffer src = random_operand(rng, p.src_type, p.batch * p.in_h * p.in_w * p.channels);
  const int64_t count = p.batch * p.out_h * p.out_w * p.channels;
  GuardedBuffer want(count * dtype_bytes(p.dst_type));
  PoolArgs args;
  args.src = src.data();
  args.dst = want.data();
  ThreadPool pool_of_one(1);
  pool_run(*pool_kernels().back(), p, args, pool_of_one);
  if (count == 0) return;
  const auto narrow = [](int64_t v) { return static_cast<int32_t>(v); };
  PoolOp op;
  op.src = upload(src, p.src_type);
  op.dst = allocate(count, p.dst_type);
  op.batch = narrow(p.batch);
  op.channels = narrow(p.channels);
  op.in_h = narrow(p.in_h);
  op.in_w = narrow(p.in_w);
  op.out_h = narrow(p.out_h);
  op.out_w = narrow(p.out_w);
  op.kernel_h = narrow(p.kernel_h);
  op.kernel_w = narrow(p.kernel_w);
  op.stride_h = narrow(p.stride_h);
  op.stride_w = narrow(p.stride_w);
  op.dilation_h = narrow(p.dilation_h);
  op.dilation_w = narrow(p.dilation_w);
  op.pad_top = narrow(p.pad_top);
  op.pad_left = narrow(p.pad_left);
  op.pad_bottom = narrow(p.pad_bottom);
  op.pad_right = narrow(p.pad_right);
  op.mean = p.kind == PoolKind::kAverage ? 1 : 0;
  op.count_include_pad = p.count_include_pad ? 1 : 0;
  SCOPED_TRACE(std::to_string(p.in_h) + "x" + std::to_string(p.in_w) + "x" +
               std::to_string(p.channels) + ", " + dtype_name(p.src_type));
  if (!finished(launch(op, how_))) return;
  tally_.ran("pool");
  const std::vector<float> got = download(op.dst, count);
  if (p.kind == PoolKind::kMax) {
    EXPECT_TRUE(all_equal<float>(got, as_floats(p.dst_type, want)));
  } else {
    const Tolerance t{1e-5, 4 * storage_epsilon(p.dst_type)};
    EXPECT_TRUE(all_close(got, as_floats(p.dst_type, want), t));
  }
  forget();
}

TEST_F(LayersOnGpu, PoolsAgreeWithTheReference) {
  for (const DType type : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kUInt8}) {
    for (const PoolKind kind : {PoolKind::kMax, PoolKind::kAverage}) {
      if (type == DType::kUInt8 && kind == PoolKind::kAverage) continue;
      for (const bool include : {false, true}) {
        const auto out = [](int64_t in, int64_t pads, int64_t kernel, int64_t dilation,
                            int64_t stride, int64_t extra) {
          return (in + pads - (kernel - 1) * dilation - 1) / stride + 1 + extra;
        };
#define PARE_POOL_CASE(b, h, w, c, kh, kw, sh, sw, dh, dw, t, l, bo, r, extra) \
  pool({kind,                                                                  \
        b,                                                                     \
        h,                                                                     \
        w,                                                                     \
        c,                                                                     \
        out(h, t + bo, kh, dh, sh, extra),                                     \
        out(w, l + r, kw, dw, sw, extra),                                      \
        kh,                                                                    \
        kw,                                                                    \
        sh,                                                                    \
        sw,                                                                    \
        dh,                                                                    \
        dw,                                                                    \
        t,                                                                     \
        l,                                                                     \
        bo,                                                                    \
        r,                                                                     \
        include,                                                               \
        type,                                                                  \
        type});
#include "kernels/pool/cases.inc"
#undef PARE_POOL_CASE
      }
    }
  }
}

}  // namespace
}  // namespace pare::gpu::cuda
