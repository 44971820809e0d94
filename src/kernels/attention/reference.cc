// The formulas of attention.h, sums in double, and of projected.h by the references of its parts.
#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "base/cache_line.h"
#include "kernels/attention/variants.h"
#include "kernels/scalar.h"

namespace pare {
namespace {

int64_t scratch_bytes(const AttentionKernel&, const AttentionProblem&, int) { return 0; }

int64_t at(const AttentionStrides& s, int64_t b, int64_t token, int64_t head) {
  return b * s.batch + token * s.token + head * s.head;
}

// The softmax over j of scale * <q_i, k_j>.
std::vector<double> weights_of(const AttentionProblem& p, const AttentionArgs& args, int64_t b,
                               int64_t i, int64_t head) {
  const float* q = args.q + at(args.q_strides, b, i, head);
  std::vector<double> weights(static_cast<size_t>(p.kv_tokens));
  double largest = -std::numeric_limits<double>::infinity();
  for (int64_t j = 0; j < p.kv_tokens; ++j) {
    const float* k = args.k + at(args.k_strides, b, j, head);
    double score = 0.0;
    for (int64_t d = 0; d < p.qk_dim; ++d) score += static_cast<double>(q[d]) * k[d];
    weights[static_cast<size_t>(j)] = score * p.scale;
    largest = std::max(largest, score * p.scale);
  }
  double sum = 0.0;
  for (double& w : weights) sum += w = std::exp(w - largest);
  for (double& w : weights) w /= sum;
  return weights;
}

void run(const AttentionKernel&, const AttentionProblem& p, const AttentionArgs& args,
         ThreadPool& pool) {
  pool.run(p.batch * p.heads * p.q_tokens, [&](int64_t task, int) {
    const int64_t i = task % p.q_tokens;
    const int64_t head = task / p.q_tokens % p.heads;
    const int64_t b = task / p.q_tokens / p.heads;
    const std::vector<double> weights = weights_of(p, args, b, i, head);
    for (int64_t d = 0; d < p.v_dim; ++d) {
      double sum = 0.0;
      for (int64_t j = 0; j < p.kv_tokens; ++j) {
        sum += weights[static_cast<size_t>(j)] * args.v[at(args.v_strides, b, j, head) + d];
      }
      store_from_float(p.dst_type, args.dst, at(args.dst_strides, b, i, head) + d,
                       static_cast<float>(sum), {args.out_scale, args.out_zero_point, 0, 255});
    }
  });
}

const GemmKernel& reference_product() { return *gemm_kernels().back(); }

const char* refuse_projected(const ProjectedProblem& p) {
  const bool plain = std::string_view(p.packing) == reference_product().packing;
  return plain ? nullptr : "weights are packed for other kernels";
}

int64_t product_bytes(const ProjectedProblem& p) {
  return round_up_64(p.product.m * p.product.n * 4);
}

int64_t projected_scratch(const ProjectedKernel&, const ProjectedProblem& p, int threads) {
  return product_bytes(p) + gemm_scratch_bytes(reference_product(), p.product, threads);
}

void run_projected(const ProjectedKernel&, const ProjectedProblem& p, const ProjectedArgs& args,
                   ThreadPool& pool) {
  const AttentionProblem& a = p.attention;
  auto* parts = reinterpret_cast<float*>(args.scratch.data());
  GemmArgs product = args.product;
  product.dst = parts;
  product.dst_stride = p.product.n;
  product.scratch = args.scratch.subspan(static_cast<size_t>(product_bytes(p)));
  gemm_run(reference_product(), p.product, product, pool);
  const AttentionStrides keys{a.q_tokens * p.product.n, p.product.n, a.qk_dim};
  const AttentionStrides values{a.q_tokens * p.product.n, p.product.n, a.v_dim};
  AttentionArgs its{parts,
                    parts + a.heads * a.qk_dim,
                    parts + 2 * a.heads * a.qk_dim,
                    args.dst,
                    keys,
                    keys,
                    values,
                    args.dst_strides,
                    args.out_scale,
                    args.out_zero_point,
                    {}};
  run(attention_reference, a, its, pool);
}

}  // namespace

const ProjectedKernel projected_reference = {"projected_reference", kIsaBaseline,  refuse_projected,
                                             projected_scratch,     run_projected, nullptr};
const AttentionKernel attention_reference = {"attention_reference", kIsaBaseline, nullptr,
                                             scratch_bytes,         run,          nullptr};

}  // namespace pare
