#include "train/stepper.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "train/tensors.h"

namespace pare {
namespace {

Result<std::unique_ptr<TorchExecutor>> make_executor(const Graph& graph, at::Device device,
                                                     bool trainable) {
  auto executor = TorchExecutor::create(graph, {.device = device, .trainable = trainable});
  if (!executor.ok()) return executor.status();
  return std::make_unique<TorchExecutor>(std::move(executor).value());
}

Status check_classes(const at::Tensor& scores, const Dataset& data) {
  const auto classes = static_cast<int64_t>(data.classes().size());
  if (scores.dim() == 2 && scores.size(1) == classes) return ok_status();
  return invalid_argument(fmt::format("the model has {} classes, the data ({}) {}", scores.size(-1),
                                      data.description(), classes));
}

}  // namespace

Result<std::unique_ptr<Stepper>> Stepper::create(const Graph& graph, const Graph* teacher,
                                                 const TrainRecipe& recipe, at::Device device) {
  std::unique_ptr<Stepper> s(new Stepper(recipe, device));
  const std::string& precision = recipe.train.precision;
  s->autocast_ =
      precision == "bfloat16" || (precision == "auto" && (device.is_cuda() || has_fast_bfloat16()));
  PARE_ASSIGN_OR_RETURN(s->network_, make_executor(graph, device, true));
  if (s->network_->parameters().empty()) {
    return invalid_argument(fmt::format("'{}' has no weights to train", graph.name));
  }
  if (recipe.ema.decay > 0) {
    PARE_ASSIGN_OR_RETURN(s->average_, make_executor(graph, device, false));
  }
  if (teacher != nullptr) {
    PARE_ASSIGN_OR_RETURN(s->teacher_, make_executor(*teacher, device, false));
  }
  s->optimiser_ = std::make_unique<Optimiser>(s->network_->parameters(), recipe.optimiser);
  return s;
}

void Stepper::seed_step(int64_t step) const {
  Rng rng(static_cast<uint64_t>(recipe_.train.seed), RngPurpose::kDropout,
          static_cast<uint64_t>(step));
  at::manual_seed(rng.next_u64());
}

Result<double> Stepper::accumulate(Batch& batch, const ImageShape& shape, int64_t group) {
  const TorchBatch images = to_torch_batch(batch, shape, device_);
  at::Tensor loss;
  try {
    PARE_ASSIGN_OR_RETURN(
        const at::Tensor output,
        network_->forward(model_input(images.pixels, network_->source()),
                          {.dropout = true, .batch_statistics = true, .autocast = autocast_}));
    const at::Tensor scores = model_scores(output, network_->source().contract);
    loss = label_loss(scores, images, recipe_.train.label_smoothing);
    if (teacher_ != nullptr) {
      const at::NoGradGuard no_grad;
      PARE_ASSIGN_OR_RETURN(const at::Tensor taught,
                            teacher_->forward(model_input(images.pixels, teacher_->source()),
                                              {.autocast = autocast_}));
      const at::Tensor teacher_scores = model_scores(taught, teacher_->source().contract);
      if (teacher_scores.sizes() != scores.sizes()) {
        return invalid_argument(fmt::format("the teacher has {} classes, the model {}",
                                            teacher_scores.size(1), scores.size(1)));
      }
      const at::AutoGradMode with_grad(true);
      loss =
          loss * (1.0 - recipe_.distil.weight) +
          teacher_loss(scores, teacher_scores, recipe_.distil.temperature) * recipe_.distil.weight;
    }
    (loss / static_cast<double>(group)).backward();
  } catch (const std::exception& error) {
    return internal_error("training step: " + torch_error_line(error));
  }
  const double value = loss.item().toDouble();
  if (!std::isfinite(value)) return numeric_error(fmt::format("the loss is {}", value));
  return value;
}

void Stepper::update(int64_t step, double lr) {
  if (recipe_.train.clip_norm > 0) optimiser_->clip(recipe_.train.clip_norm);
  optimiser_->step(lr);
  apply_masks();
  if (average_ != nullptr) WeightAverage(*network_, *average_, recipe_.ema.decay).update(step);
}

Status Stepper::set_masks(const std::map<std::string, Tensor>& masks) {
  for (const auto& [name, mask] : masks) {
    const auto& parameters = network_->parameters();
    const auto it = std::find_if(parameters.begin(), parameters.end(),
                                 [&name = name](const auto& p) { return p.name == name; });
    if (it == parameters.end()) {
      return invalid_argument(fmt::format("mask for '{}', which is no trained weight", name));
    }
    PARE_ASSIGN_OR_RETURN(at::Tensor torch_mask, to_torch(mask));
    if (torch_mask.sizes() != it->value.sizes()) {
      return invalid_argument(fmt::format("mask for '{}' has shape {}, not the weight's", name,
                                          shape_string(mask.shape())));
    }
    // In the weight's own memory layout, so that applying it is one pass.
    masks_[name] = at::empty_like(it->value.detach()).copy_(torch_mask);
  }
  apply_masks();
  return ok_status();
}

void Stepper::apply_masks() {
  if (masks_.empty()) return;
  const at::NoGradGuard no_grad;
  for (const TorchExecutor::Named& p : network_->parameters()) {
    const auto it = masks_.find(p.name);
    if (it != masks_.end()) p.value.mul_(it->second);
  }
  if (average_ == nullptr) return;
  for (const TorchExecutor::Named& p : average_->parameters()) {
    const auto it = masks_.find(p.name);
    if (it != masks_.end()) p.value.mul_(it->second);
  }
}

Result<Scores> Stepper::validate(const std::shared_ptr<const Dataset>& data, int64_t batch_size,
                                 const std::atomic<bool>* stop) {
  return evaluate(
      result(), data,
      {.batch_size = batch_size, .autocast = autocast_, .device = device_, .stop = stop});
}

Status Stepper::recalibrate(const std::shared_ptr<const Dataset>& data,
                            const std::atomic<bool>* stop) {
  if (average_ == nullptr || average_->buffers().empty()) return ok_status();
  const at::NoGradGuard no_grad;
  const LoaderOptions options = {.batch_size = recipe_.train.batch_size,
                                 .seed = static_cast<uint64_t>(recipe_.train.seed),
                                 .threads = loader_threads(device_)};
  PARE_ASSIGN_OR_RETURN(const auto loader, Loader::create(data, options));
  Batch batch;
  const int64_t batches = std::min(recipe_.ema.recalibration_batches, loader->batches_per_epoch());
  for (int64_t i = 0; i < batches; ++i) {
    if (stop != nullptr && *stop) return cancelled("stopped while batch norm was measured");
    PARE_RETURN_IF_ERROR(loader->next(batch));
    const TorchBatch images = to_torch_batch(batch, data->image_shape(), device_);
    // The mean of all batches so far.
    const double share = 1.0 / static_cast<double>(i + 1);
    const auto output = average_->forward(
        model_input(images.pixels, average_->source()),
        {.batch_statistics = true, .batch_norm_momentum = share, .autocast = autocast_});
    if (!output.ok()) return output.status();
  }
  return ok_status();
}

bool Stepper::finite() const {
  const at::NoGradGuard no_grad;
  const auto& parameters = network_->parameters();
  return std::all_of(parameters.begin(), parameters.end(),
                     [](const auto& p) { return at::isfinite(p.value.sum()).item().toBool(); });
}

std::map<std::string, at::Tensor> Stepper::live_tensors() const {
  std::map<std::string, at::Tensor> out;
  const auto add = [&out](const std::string& prefix, const TorchExecutor& executor) {
    for (const auto& p : executor.parameters()) out[prefix + "weight/" + p.name] = p.value;
    for (const auto& b : executor.buffers()) out[prefix + "buffer/" + b.name] = b.value;
  };
  add("", *network_);
  if (average_ != nullptr) add("average/", *average_);
  for (const auto& [name, tensor] : optimiser_->state()) out["optimiser/" + name] = tensor;
  for (const auto& [name, tensor] : masks_) out["mask/" + name] = tensor;
  return out;
}

Result<std::map<std::string, Tensor>> Stepper::state() const {
  std::map<std::string, Tensor> out;
  for (const auto& [name, tensor] : live_tensors()) {
    PARE_ASSIGN_OR_RETURN(out[name], from_torch(tensor, {.share = true}));
  }
  return out;
}

Status Stepper::load_state(const std::map<std::string, Tensor>& saved) {
  const at::NoGradGuard no_grad;
  for (auto& [name, live] : live_tensors()) {
    const auto it = saved.find(name);
    if (it == saved.end()) return corrupt("tensor '" + name + "' is missing");
    PARE_ASSIGN_OR_RETURN(const at::Tensor value, to_torch(it->second));
    if (value.sizes() != live.sizes() || value.scalar_type() != live.scalar_type()) {
      return corrupt(fmt::format("tensor '{}' is {} of {}, not as this run has it", name,
                                 dtype_name(it->second.type()), shape_string(it->second.shape())));
    }
    live.copy_(value);
  }
  return ok_status();
}

int loader_threads(at::Device device) {
  const int cores = available_cores();
  return device.is_cuda() ? std::max(1, cores - 1) : std::max(1, cores / 4);
}

Result<Scores> evaluate(TorchExecutor& executor, const std::shared_ptr<const Dataset>& data,
                        const EvaluateOptions& options) {
  const at::NoGradGuard no_grad;
  PARE_ASSIGN_OR_RETURN(const auto loader,
                        Loader::create(data, {.batch_size = options.batch_size,
                                              .shuffle = false,
                                              .drop_last = false,
                                              .threads = loader_threads(options.device)}));
  Scores scores;
  Batch batch;
  for (int64_t i = 0; i < loader->batches_per_epoch(); ++i) {
    if (options.stop != nullptr && options.stop->load()) return cancelled("validation stopped");
    PARE_RETURN_IF_ERROR(loader->next(batch));
    try {
      const TorchBatch images = to_torch_batch(batch, data->image_shape(), options.device);
      PARE_ASSIGN_OR_RETURN(const at::Tensor output,
                            executor.forward(model_input(images.pixels, executor.source()),
                                             {.autocast = options.autocast}));
      const at::Tensor answers = model_scores(output, executor.source().contract);
      PARE_RETURN_IF_ERROR(check_classes(answers, *data));
      const int64_t five = std::min<int64_t>(5, answers.size(1));
      const at::Tensor best = std::get<1>(at::topk(answers, five, 1));
      const at::Tensor hits = best.eq(images.labels.unsqueeze(1));
      const double count = static_cast<double>(batch.count);
      scores.loss += label_loss(answers, images, 0).item().toDouble() * count;
      scores.top1 += static_cast<double>(hits.select(1, 0).sum().item().toLong());
      scores.top5 += static_cast<double>(hits.sum().item().toLong());
      scores.images += batch.count;
    } catch (const std::exception& error) {
      return internal_error("validation: " + torch_error_line(error));
    }
  }
  const double n = static_cast<double>(scores.images);
  scores.loss /= n;
  scores.top1 *= 100.0 / n;
  scores.top5 *= 100.0 / n;
  return scores;
}

}  // namespace pare
