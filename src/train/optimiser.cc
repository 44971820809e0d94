#include "train/optimiser.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace pare {

Optimiser::Optimiser(const std::vector<TorchExecutor::Named>& parameters,
                     const TrainRecipe::Optimiser& settings)
    : parameters_(parameters), settings_(settings), groups_(2) {
  const bool muon = settings.kind == "muon";
  adamw_ = (muon ? settings.rest : settings.kind) == "adamw";
  groups_[0].weight_decay = settings.weight_decay;
  groups_[1].weight_decay = settings.bias_decay;
  if (settings.bias_lr >= 0 && settings.lr > 0) {
    groups_[1].rate_share = settings.bias_lr / settings.lr;
  }
  std::vector<size_t> matrices;
  if (muon) matrices = muon_members(parameters_, settings_);
  if (!matrices.empty()) muon_ = std::make_unique<Muon>(parameters_, matrices, settings_);
  first_.resize(parameters_.size());
  second_.resize(parameters_.size());
  steps_.resize(parameters_.size());
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (std::binary_search(matrices.begin(), matrices.end(), i)) continue;
    groups_[parameters_[i].decay ? 0 : 1].members.push_back(i);
    const at::Tensor& w = parameters_[i].value;
    first_[i] = at::zeros_like(w.detach());
    if (adamw_) {
      second_[i] = at::zeros_like(w.detach());
      steps_[i] = at::zeros({}, w.options().requires_grad(false));
    }
  }
}

void Optimiser::step(double lr) {
  const at::NoGradGuard no_grad;
  for (const Group& group : groups_) step_group(group, lr * group.rate_share);
  const at::TensorOptions on = parameters_[0].value.options().requires_grad(false);
  if (muon_ != nullptr) step_matrices(at::full({}, lr, on), /*gradient_scale=*/{});
  for (const TorchExecutor::Named& p : parameters_) p.value.mutable_grad() = at::Tensor();
}

void Optimiser::step_matrices(const at::Tensor& lr, const at::Tensor& gradient_scale) {
  if (muon_ == nullptr) return;
  const at::NoGradGuard no_grad;
  muon_->step(lr * (settings_.muon_lr / settings_.lr), gradient_scale);
}

void Optimiser::step_group(const Group& group, double lr) {
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> gradients;
  std::vector<at::Tensor> first;
  std::vector<at::Tensor> second;
  std::vector<at::Tensor> steps;
  for (size_t i : group.members) {
    if (!parameters_[i].value.grad().defined()) continue;
    weights.push_back(parameters_[i].value);
    // The fused kernels walk through memory, so the gradient must lie as its weight does.
    const at::Tensor& w = parameters_[i].value;
    at::Tensor g = w.grad();
    if (g.strides() != w.strides()) g = at::empty_like(w).copy_(g);
    gradients.push_back(g);
    first.push_back(first_[i]);
    if (adamw_) {
      second.push_back(second_[i]);
      steps.push_back(steps_[i]);
    }
  }
  if (weights.empty()) return;
  if (adamw_) {
    at::_foreach_add_(steps, 1);
    at::_fused_adamw_(weights, gradients, first, second, /*max_exp_avg_sqs=*/{}, steps, lr,
                      settings_.beta1, settings_.beta2, group.weight_decay, settings_.epsilon,
                      /*amsgrad=*/false, /*maximize=*/false);
  } else {
    if (settings_.momentum == 0) first.clear();  // as LibTorch wants it
    at::_fused_sgd_(weights, gradients, first, group.weight_decay, settings_.momentum, lr,
                    /*dampening=*/0.0, settings_.nesterov, /*maximize=*/false,
                    /*is_first_step=*/false);
  }
}

double Optimiser::clip(double limit) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const TorchExecutor::Named& p : parameters_) {
    if (p.value.grad().defined()) gradients.push_back(p.value.grad());
  }
  if (gradients.empty()) return 0;
  const double norm = at::stack(at::_foreach_norm(gradients, 2)).norm().item().toDouble();
  if (limit > 0 && norm > limit) at::_foreach_mul_(gradients, at::Scalar(limit / norm));
  return norm;
}

UpdateRule Optimiser::rule() const {
  UpdateRule rule;
  rule.adamw = adamw_ ? 1 : 0;
  rule.nesterov = settings_.nesterov ? 1 : 0;
  rule.momentum = static_cast<float>(settings_.momentum);
  rule.beta1 = static_cast<float>(settings_.beta1);
  rule.beta2 = static_cast<float>(settings_.beta2);
  rule.epsilon = static_cast<float>(settings_.epsilon);
  return rule;
}

Optimiser::Moments Optimiser::moments(size_t i) const {
  Moments out;
  const Group& group = groups_[parameters_[i].decay ? 0 : 1];
  out.first = first_[i];
  out.second = second_[i];
  out.step = steps_[i];
  out.weight_decay = group.weight_decay;
  out.rate_share = group.rate_share;
  out.stepped_elsewhere = !first_[i].defined();
  return out;
}

void Optimiser::count_step() {
  std::vector<at::Tensor> steps;
  for (const at::Tensor& step : steps_) {
    if (step.defined()) steps.push_back(step);
  }
  if (steps.empty()) return;
  const at::NoGradGuard no_grad;
  at::_foreach_add_(steps, 1);
}

std::map<std::string, at::Tensor> Optimiser::state() const {
  std::map<std::string, at::Tensor> out;
  if (muon_ != nullptr) {
    for (const auto& [name, momentum] : muon_->state()) out["first/" + name] = momentum;
  }
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!first_[i].defined()) continue;  // Muon's
    out["first/" + parameters_[i].name] = first_[i];
    if (adamw_) {
      out["second/" + parameters_[i].name] = second_[i];
      out["steps/" + parameters_[i].name] = steps_[i];
    }
  }
  return out;
}

Status Optimiser::load_state(const std::map<std::string, at::Tensor>& saved) {
  const at::NoGradGuard no_grad;
  for (auto& [name, mine] : state()) {
    const auto it = saved.find(name);
    if (it == saved.end() || it->second.sizes() != mine.sizes()) {
      return corrupt(fmt::format("the optimiser's '{}' is missing or of another shape", name));
    }
    mine.copy_(it->second);
  }
  return ok_status();
}

double WeightAverage::decay_at(double decay, int64_t step) {
  const double t = static_cast<double>(step);
  return std::min(decay, (1.0 + t) / (10.0 + t));
}

void WeightAverage::update(int64_t step) {
  const at::NoGradGuard no_grad;
  const double decay = decay_at(decay_, step);
  std::vector<at::Tensor> from;
  std::vector<at::Tensor> to;
  const auto collect = [&](const auto& source, const auto& average) {
    for (size_t i = 0; i < source.size(); ++i) {
      from.push_back(source[i].value.detach());
      to.push_back(average[i].value);
    }
  };
  collect(source_.parameters(), average_.parameters());
  collect(source_.buffers(), average_.buffers());
  at::_foreach_lerp_(to, from, 1.0 - decay);
}

}  // namespace pare
