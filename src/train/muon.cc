#include "train/muon.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace pare {
namespace {

// As a matrix over its own memory, the shorter side first. A convolution's weight lies
// channels-last, so its columns are in that order: orthogonality does not know of it.
at::Tensor matrix_of(const at::Tensor& weight) {
  at::Tensor m = weight.detach();
  if (m.dim() == 4) m = m.permute({0, 2, 3, 1});
  if (m.dim() != 2) m = m.reshape({m.size(0), -1});
  return m.size(0) > m.size(1) ? m.t() : m;
}

// The gradient laid out as matrix_of(weight) is; zero where there is none.
at::Tensor gradient_of(const TorchExecutor::Named& parameter) {
  const at::Tensor& g = parameter.gradient();
  if (g.defined()) return matrix_of(g);
  const at::Tensor& read = parameter.copy.defined() ? parameter.copy : parameter.value;
  return at::zeros_like(matrix_of(read));
}

std::vector<at::Tensor> weights_of(const std::vector<TorchExecutor::Named>& parameters,
                                   const std::vector<size_t>& members) {
  std::vector<at::Tensor> out;
  out.reserve(members.size());
  for (const size_t i : members) out.push_back(parameters[i].value.detach());
  return out;
}

// W *= √rows / |W| of each.
void normalise_weights(const std::vector<at::Tensor>& weights) {
  const double target = std::sqrt(static_cast<double>(weights[0].size(0)));
  std::vector<at::Tensor> factors = at::_foreach_norm(weights, 2);
  at::_foreach_reciprocal_(factors);
  at::_foreach_mul_(factors, at::Scalar(target));
  for (size_t i = 0; i < weights.size(); ++i) weights[i].mul_(factors[i]);
}

}  // namespace

std::vector<size_t> muon_members(const std::vector<TorchExecutor::Named>& parameters,
                                 const TrainRecipe::Optimiser& settings) {
  size_t scores = parameters.size();
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].decay) scores = i;
  }
  std::vector<size_t> members;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& w = parameters[i].value;
    if (!parameters[i].decay || i == scores || w.dim() < 2) continue;
    const int64_t rows = std::max<int64_t>(1, w.size(0));
    const int64_t shorter = std::min(rows, w.numel() / rows);
    if (shorter <= settings.muon_largest_side) members.push_back(i);
  }
  return members;
}

at::Tensor orthogonalise(const at::Tensor& matrices, int64_t steps) {
  constexpr double kA = 3.4445;
  constexpr double kB = -4.7750;
  constexpr double kC = 2.0315;
  constexpr double kEpsilon = 1e-7;
  const at::Tensor norms = at::linalg_vector_norm(matrices, 2, {1, 2}, /*keepdim=*/true);
  at::Tensor x = matrices / (norms + kEpsilon);
  if (x.is_cuda()) x = x.to(at::kBFloat16);
  for (int64_t i = 0; i < steps; ++i) {
    const at::Tensor a = at::bmm(x, x.transpose(1, 2));
    const at::Tensor b = at::baddbmm(a, a, a, kB, kC);
    x = at::baddbmm(x, b, x, kA, 1);
  }
  return x;
}

Muon::Muon(const std::vector<TorchExecutor::Named>& parameters, const std::vector<size_t>& members,
           const TrainRecipe::Optimiser& settings)
    : parameters_(parameters), settings_(settings) {
  // By the weight's own shape, not the matrix's: one norm target and one scale for each group.
  std::map<std::vector<int64_t>, std::vector<size_t>> by_shape;
  for (const size_t i : members) by_shape[parameters[i].value.sizes().vec()].push_back(i);
  for (auto& [shape, alike] : by_shape) {
    const at::Tensor& w = parameters[alike[0]].value;
    const at::Tensor m = matrix_of(w);
    const int64_t longer = m.size(1);
    Group group;
    group.members = std::move(alike);
    group.momentum = at::zeros({static_cast<int64_t>(group.members.size()), m.size(0), longer},
                               w.options().requires_grad(false));
    if (!settings.muon_normalise) group.scale = 0.2 * std::sqrt(static_cast<double>(longer));
    groups_.push_back(std::move(group));
  }
}

void Muon::step(const at::Tensor& rate, const at::Tensor& gradient_scale) {
  const at::NoGradGuard no_grad;
  for (Group& group : groups_) step_group(group, rate, gradient_scale);
}

void Muon::step_group(Group& group, const at::Tensor& rate, const at::Tensor& gradient_scale) {
  std::vector<at::Tensor> gradients;
  gradients.reserve(group.members.size());
  for (const size_t i : group.members) gradients.push_back(gradient_of(parameters_[i]));
  at::Tensor g = at::stack(gradients).to(at::kFloat);
  if (gradient_scale.defined()) g = g * gradient_scale;
  group.momentum.mul_(settings_.muon_momentum).add_(g);
  const at::Tensor direction =
      settings_.nesterov ? g.add(group.momentum, settings_.muon_momentum) : group.momentum;
  const at::Tensor update =
      orthogonalise(direction, settings_.muon_steps).to(at::kFloat) * (rate * -group.scale);
  const std::vector<at::Tensor> weights = weights_of(parameters_, group.members);
  if (settings_.muon_normalise) {
    normalise_weights(weights);
  } else if (settings_.weight_decay > 0) {
    const at::Tensor keep = 1.0 - rate * settings_.weight_decay;
    for (const at::Tensor& w : weights) w.mul_(keep);
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    matrix_of(weights[i]).add_(update[static_cast<int64_t>(i)]);
    const at::Tensor& copy = parameters_[group.members[i]].copy;
    if (copy.defined()) copy.detach().copy_(weights[i]);
  }
}

std::vector<std::pair<std::string, at::Tensor>> Muon::state() const {
  std::vector<std::pair<std::string, at::Tensor>> out;
  for (const Group& group : groups_) {
    for (size_t i = 0; i < group.members.size(); ++i) {
      out.emplace_back(parameters_[group.members[i]].name, group.momentum[static_cast<int64_t>(i)]);
    }
  }
  return out;
}

}  // namespace pare
