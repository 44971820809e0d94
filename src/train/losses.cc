#include "train/losses.h"

#include <fmt/format.h>

#include <algorithm>

namespace pare {
namespace {

// Smallest probability that is told apart from 0 when a model ends in a softmax.
constexpr double kLeastProbability = 1e-12;

// Made where they are needed: a copy from the host would wait for all work before it.
at::Tensor channel_values(const std::vector<float>& values, const at::Tensor& like) {
  std::vector<at::Tensor> numbers;
  for (const float value : values) numbers.push_back(at::full({1, 1, 1, 1}, value, like.options()));
  return at::cat(numbers, 1);
}

// -log p of the given class, image by image.
at::Tensor picked(const at::Tensor& log_p, const at::Tensor& labels) {
  return -log_p.gather(1, labels.unsqueeze(1)).squeeze(1);
}

}  // namespace

TorchBatch to_torch_batch(Batch& batch, const ImageShape& shape, at::Device device) {
  TorchBatch out;
  out.pixels =
      at::from_blob(batch.pixels.data(), {batch.count, shape.channels, shape.height, shape.width},
                    at::TensorOptions().dtype(at::kByte))
          .to(device);
  const auto to_labels = [&](std::vector<int32_t>& labels) {
    return at::from_blob(labels.data(), {batch.count}, at::TensorOptions().dtype(at::kInt))
        .to(device, at::kLong);
  };
  out.labels = to_labels(batch.labels);
  const auto& weights = batch.mixed.weights;
  if (std::any_of(weights.begin(), weights.end(), [](float w) { return w != 0.0F; })) {
    out.mixed_labels = to_labels(batch.mixed.labels);
    out.mixed_weights = at::from_blob(batch.mixed.weights.data(), {batch.count}).clone().to(device);
  }
  return out;
}

at::Tensor model_input(const at::Tensor& pixels, const Graph& graph) {
  const InputContract& contract = graph.contract;
  at::Tensor x = pixels;
  if (contract.bgr) x = at::flip(x, {1});
  const bool resize = contract.height > 0 && contract.width > 0 &&
                      (x.size(2) != contract.height || x.size(3) != contract.width);
  if (resize) {
    x = at::upsample_bilinear2d(x.to(at::kFloat), {contract.height, contract.width},
                                /*align_corners=*/false);
    if (!contract.float_input) x = at::clamp(at::round(x), 0, 255).to(at::kByte);
  }
  if (contract.float_input) {
    x = x.to(at::kFloat) * contract.scale;
    if (!contract.mean.empty()) x = x - channel_values(contract.mean, x);
    if (!contract.std.empty()) x = x / channel_values(contract.std, x);
  }
  return contract.channels_last ? x.permute({0, 2, 3, 1}) : x;
}

at::Tensor model_scores(const at::Tensor& output, const InputContract& contract) {
  const at::Tensor scores = output.to(at::kFloat).reshape({output.size(0), -1});
  return contract.outputs_probabilities ? at::log(at::clamp_min(scores, kLeastProbability))
                                        : scores;
}

Status check_classes(const at::Tensor& scores, const Dataset& data) {
  const auto classes = static_cast<int64_t>(data.classes().size());
  if (scores.dim() == 2 && scores.size(1) == classes) return ok_status();
  return invalid_argument(fmt::format("the model has {} classes, the data ({}) {}", scores.size(-1),
                                      data.description(), classes));
}

at::Tensor label_loss(const at::Tensor& scores, const TorchBatch& batch, double smoothing) {
  const at::Tensor log_p = at::log_softmax(scores, 1);
  at::Tensor loss = picked(log_p, batch.labels);
  if (batch.mixed_labels.defined()) {
    loss = at::lerp(loss, picked(log_p, batch.mixed_labels), batch.mixed_weights);
  }
  loss = loss.mean();
  if (smoothing > 0) loss = loss * (1.0 - smoothing) - log_p.mean() * smoothing;
  return loss;
}

at::Tensor teacher_loss(const at::Tensor& scores, const at::Tensor& teacher_scores,
                        double temperature) {
  const at::Tensor log_p = at::log_softmax(scores / temperature, 1);
  const at::Tensor log_q = at::log_softmax(teacher_scores / temperature, 1);
  return (log_q.exp() * (log_q - log_p)).sum(1).mean() * (temperature * temperature);
}

}  // namespace pare
