#include "train/rank_norm.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace pare {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

void sum_or_throw(Ranks& ranks, const at::Tensor& values) {
  const Status summed = ranks.sum(values);
  if (!summed.ok()) throw std::runtime_error(summed.message());
}

std::vector<int64_t> all_but_channels(const at::Tensor& x) {
  std::vector<int64_t> axes = {0};
  for (int64_t d = 2; d < x.dim(); ++d) axes.push_back(d);
  return axes;
}

// Of the whole batch, float32 [C], biased variance.
struct Statistics {
  at::Tensor mean, variance;
  double count = 0;  // values a channel
};

// Nothing here waits for a GPU.
Statistics batch_statistics(Ranks& ranks, const at::Tensor& x, double batch_share) {
  const int64_t channels = x.size(1);
  const double own = static_cast<double>(x.numel()) / static_cast<double>(channels);
  const auto [variance, mean] =
      at::var_mean(x.to(at::kFloat), all_but_channels(x), /*correction=*/0);
  const at::Tensor m = mean.to(at::kDouble);
  const at::Tensor sums = at::cat({m, variance.to(at::kDouble) + m * m}) * own;
  sum_or_throw(ranks, sums);
  Statistics out;
  out.count = std::round(own / batch_share);
  const at::Tensor whole = sums.narrow(0, 0, channels) / out.count;
  const at::Tensor squares = sums.narrow(0, channels, channels) / out.count;
  out.mean = whole.to(at::kFloat);
  out.variance = at::clamp_min(squares - whole * whole, 0).to(at::kFloat);
  return out;
}

// By channel, to go with [N, C, ...].
at::Tensor spread(const at::Tensor& values, const at::Tensor& like) {
  std::vector<int64_t> shape(static_cast<size_t>(like.dim()), 1);
  shape[1] = values.size(0);
  return values.view(shape);
}

struct Normalise : torch::autograd::Function<Normalise> {
  static Variable forward(AutogradContext* context, const Variable& x, const Variable& gamma,
                          const Variable& beta, const at::Tensor& mean, const at::Tensor& variance,
                          double count, double epsilon, int64_t ranks) {
    context->save_for_backward({x, gamma, mean, variance});
    context->saved_data["count"] = count;
    context->saved_data["epsilon"] = epsilon;
    context->saved_data["ranks"] = ranks;
    return std::get<0>(at::native_batch_norm(x, gamma, beta, mean, variance, /*training=*/false,
                                             /*momentum=*/0, epsilon));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& mean = saved[2];
    const double count = context->saved_data["count"].toDouble();
    const double epsilon = context->saved_data["epsilon"].toDouble();
    auto* ranks = reinterpret_cast<Ranks*>(context->saved_data["ranks"].toInt());
    // As if the statistics were constants: γ/σ · dy, Σ(dy x̂) and Σdy of this rank.
    auto [dx, d_gamma, d_beta] = at::native_batch_norm_backward(
        gradients[0], x, saved[1], mean, saved[3], /*save_mean=*/{}, /*save_invstd=*/{},
        /*train=*/false, epsilon, {true, true, true});
    const at::Tensor sums = at::cat({d_gamma, d_beta}).to(at::kDouble);
    sum_or_throw(*ranks, sums);
    const int64_t channels = mean.size(0);
    const at::Tensor invstd = at::rsqrt(saved[3] + epsilon);
    const at::Tensor scale = saved[1] * invstd / count;
    const at::Tensor by_x = -scale * invstd * sums.narrow(0, 0, channels).to(at::kFloat);
    const at::Tensor shift =
        -scale * sums.narrow(0, channels, channels).to(at::kFloat) - by_x * mean;
    dx = dx.add_(spread(shift, x)).addcmul_(x, spread(by_x, x));
    return {dx, d_gamma, d_beta, {}, {}, {}, {}, {}};
  }
};

}  // namespace

at::Tensor rank_batch_norm(Ranks& ranks, const RankNormCall& call) {
  Statistics statistics;
  {
    const at::NoGradGuard no_grad;
    statistics = batch_statistics(ranks, call.x, call.batch_share);
    const double unbiased = statistics.count / std::max(1.0, statistics.count - 1);
    call.running_mean.lerp_(statistics.mean, call.momentum);
    call.running_variance.lerp_(statistics.variance * unbiased, call.momentum);
  }
  return Normalise::apply(call.x, call.gamma, call.beta, statistics.mean, statistics.variance,
                          statistics.count, call.epsilon, reinterpret_cast<int64_t>(&ranks));
}

}  // namespace pare
