#include "train/shared_weights.h"

#include <fmt/format.h>

#include "train/tensors.h"

namespace pare {

Status SharedWeights::set(const std::map<std::string, Tensor>& shared,
                          const TorchExecutor& network) {
  for (const auto& [name, index] : shared) {
    const TorchExecutor::Named* parameter = network.parameter(name);
    if (parameter == nullptr)
      return invalid_argument(
          fmt::format("shared values for '{}', which is no trained weight", name));
    PARE_ASSIGN_OR_RETURN(const at::Tensor torch_index, to_torch(index));
    if (torch_index.sizes() != parameter->value.sizes())
      return invalid_argument(fmt::format("shared values for '{}' have shape {}, not the weight's",
                                          name, shape_string(index.shape())));
    const at::Tensor flat = torch_index.reshape({-1}).to(at::kLong);
    Weight weight;
    weight.where = at::nonzero(flat).reshape({-1});
    weight.value = flat.index_select(0, weight.where) - 1;
    weight.sizes = at::bincount(weight.value).clamp_min(1).to(at::kDouble);
    const at::Device device = parameter->value.device();
    weights_[name] = {weight.where.to(device), weight.value.to(device), weight.sizes.to(device)};
  }
  return ok_status();
}

void SharedWeights::average(const Weight& weight, const at::Tensor& tensor) {
  const at::Tensor flat = tensor.reshape({-1});
  const at::Tensor kept = flat.index_select(0, weight.where).to(at::kDouble);
  const at::Tensor means =
      at::zeros_like(weight.sizes).index_add_(0, weight.value, kept).div_(weight.sizes);
  at::Tensor result = at::zeros_like(flat);
  result.index_copy_(0, weight.where, means.to(flat.scalar_type()).index_select(0, weight.value));
  tensor.copy_(result.view(tensor.sizes()));
}

void SharedWeights::average_gradients(const TorchExecutor& network) const {
  const at::NoGradGuard no_grad;
  for (const TorchExecutor::Named& p : network.parameters()) {
    const auto it = weights_.find(p.name);
    if (it != weights_.end() && p.gradient().defined()) average(it->second, p.gradient());
  }
}

void SharedWeights::average_weights(TorchExecutor& network) const {
  const at::NoGradGuard no_grad;
  for (const TorchExecutor::Named& p : network.parameters()) {
    const auto it = weights_.find(p.name);
    if (it != weights_.end()) average(it->second, p.value);
  }
  network.refresh_copies();
}

}  // namespace pare
