// Attention head by head on the float tiles of gemm/tile.h: the keys of a head are transposed into
// panels, the values copied into panels, and blocks of queries pass over both while everything lies
// in the second-level cache (25 tokens of 64: 30 KB; 197: 300 KB).
#include "kernels/attention/head.h"
#include "kernels/attention/variants.h"
#include "kernels/scalar.h"

namespace pare {
namespace {

const HeadTiles& tiles_of(const AttentionKernel& kernel) {
  return *static_cast<const HeadTiles*>(kernel.tiles);
}

int64_t worker_bytes(const HeadLayout& l) {
  return l.keys_bytes() + l.values_bytes() + l.scores_bytes();
}

int64_t scratch_bytes(const AttentionKernel& kernel, const AttentionProblem& p, int threads) {
  return threads * worker_bytes(HeadLayout::of(*tiles_of(kernel).tiles, p));
}

int64_t at(const AttentionStrides& s, int64_t b, int64_t head) {
  return b * s.batch + head * s.head;
}

void run(const AttentionKernel& kernel, const AttentionProblem& p, const AttentionArgs& args,
         ThreadPool& pool) {
  const HeadTiles& tiles = tiles_of(kernel);
  const HeadLayout layout = HeadLayout::of(*tiles.tiles, p);
  pool.run(p.batch * p.heads, [&](int64_t task, int worker) {
    const int64_t b = task / p.heads;
    const int64_t h = task % p.heads;
    std::byte* keys = args.scratch.data() + worker * worker_bytes(layout);
    std::byte* values = keys + layout.keys_bytes();
    auto* scores = reinterpret_cast<float*>(values + layout.values_bytes());
    pack_floats(layout.keys, args.k + at(args.k_strides, b, h), args.k_strides.token, true, keys);
    pack_floats(layout.values, args.v + at(args.v_strides, b, h), args.v_strides.token, false,
                values);
    auto* dst =
        static_cast<std::byte*>(args.dst) + at(args.dst_strides, b, h) * dtype_bytes(p.dst_type);
    attend(tiles, layout, p,
           {args.q + at(args.q_strides, b, h), args.q_strides.token, keys, values, scores, dst,
            args.dst_strides.token, args.out_scale, args.out_zero_point});
  });
}

}  // namespace

#if PARE_X86
const AttentionKernel attention_f32_head_avx512 = {
    "attention_f32_head_avx512", kIsaAvx512, nullptr, scratch_bytes, run, &kHeadAvx512};
const AttentionKernel attention_f32_head_avx2 = {
    "attention_f32_head_avx2", kIsaAvx2, nullptr, scratch_bytes, run, &kHeadAvx2};
#elif PARE_NEON
const AttentionKernel attention_f32_head_neon = {
    "attention_f32_head_neon", kIsaBaseline, nullptr, scratch_bytes, run, &kHeadNeon};
#endif

}  // namespace pare
