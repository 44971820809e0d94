// The formulas of norm.h; sums in double.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/norm/variants.h"
#include "kernels/scalar.h"

namespace pare {
namespace {

std::vector<double> load_row(const NormProblem& p, const NormArgs& args, int64_t row) {
  std::vector<double> x(static_cast<size_t>(p.cols));
  for (int64_t c = 0; c < p.cols; ++c) {
    x[static_cast<size_t>(c)] = load_as_float(p.src_type, args.src, row * p.cols + c);
  }
  return x;
}

void layer_norm(const NormProblem& p, const NormArgs& args, std::vector<double>& x) {
  double mean = 0.0;
  for (double v : x) mean += v;
  mean /= static_cast<double>(p.cols);
  double variance = 0.0;
  for (double v : x) variance += (v - mean) * (v - mean);
  variance /= static_cast<double>(p.cols);
  const double inverse = 1.0 / std::sqrt(variance + static_cast<double>(p.epsilon));
  for (size_t c = 0; c < x.size(); ++c) {
    const double gamma = args.gamma == nullptr ? 1.0 : args.gamma[c];
    const double beta = args.beta == nullptr ? 0.0 : args.beta[c];
    x[c] = (x[c] - mean) * inverse * gamma + beta;
  }
}

void softmax(std::vector<double>& x, bool logarithm) {
  double largest = -std::numeric_limits<double>::infinity();
  for (double v : x) largest = std::max(largest, v);
  double sum = 0.0;
  for (double v : x) sum += std::exp(v - largest);
  for (double& v : x) v = logarithm ? v - largest - std::log(sum) : std::exp(v - largest) / sum;
}

void run(const NormKernel&, const NormProblem& p, const NormArgs& args, ThreadPool& pool) {
  pool.run(p.rows, [&](int64_t row, int) {
    std::vector<double> x = load_row(p, args, row);
    if (p.kind == NormKind::kLayerNorm) {
      layer_norm(p, args, x);
    } else {
      softmax(x, p.kind == NormKind::kLogSoftmax);
    }
    for (int64_t c = 0; c < p.cols; ++c) {
      store_from_float(p.dst_type, args.dst, row * p.cols + c,
                       static_cast<float>(x[static_cast<size_t>(c)]),
                       {args.out_scale, args.out_zero_point, 0, 255});
    }
  });
}

}  // namespace

const NormKernel norm_reference = {"norm_reference", kIsaBaseline, nullptr, run, nullptr};

}  // namespace pare
