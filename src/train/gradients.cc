#include "train/gradients.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "data/loader.h"
#include "train/device.h"
#include "train/executor.h"
#include "train/losses.h"
#include "train/ranks.h"
#include "train/stepper.h"
#include "train/tensors.h"
#include "train/torch.h"

namespace pare {
namespace {

// Backward through one batch, and what that leaves.
Result<std::map<std::string, Tensor>> differentiate(TorchExecutor& executor, Batch& batch,
                                                    const Dataset& data, at::Device device) {
  std::map<std::string, Tensor> gradients;
  try {
    const TorchBatch images = to_torch_batch(batch, data.image_shape(), device);
    PARE_ASSIGN_OR_RETURN(const at::Tensor output,
                          executor.forward(model_input(images.pixels, executor.source()), {}));
    const at::Tensor scores = model_scores(output, executor.source().contract);
    PARE_RETURN_IF_ERROR(check_classes(scores, data));
    const at::Tensor loss = label_loss(scores, images, 0);
    const double value = loss.item().toDouble();
    if (!std::isfinite(value)) return numeric_error(fmt::format("the loss is {}", value));
    loss.backward();
    for (const TorchExecutor::Named& p : executor.parameters()) {
      const at::Tensor gradient = p.gradient().defined() ? p.gradient() : at::zeros_like(p.value);
      PARE_ASSIGN_OR_RETURN(gradients[p.name], from_torch(gradient.detach(), {.share = true}));
    }
  } catch (const std::exception& error) {
    return internal_error("gradients: " + torch_error_line(error));
  }
  return gradients;
}

}  // namespace

Status label_gradients(const Graph& graph, const Dataset& images, const GradientOptions& options,
                       const TorchTrainerOptions& where, const TakeGradients& take) {
  PARE_ASSIGN_OR_RETURN(const DeviceChoice choice, choose_device(where.device));
  const at::Device device = choice.cuda ? at::kCUDA : at::kCPU;
  at::set_num_threads(options.threads > 0 ? options.threads : cores_of(nullptr));
  PARE_ASSIGN_OR_RETURN(TorchExecutor executor, TorchExecutor::create(graph, {.device = device}));
  // The caller keeps the data alive; nobody deletes it here.
  const std::shared_ptr<const Dataset> data(&images, [](const Dataset*) {});
  // Shuffled: folders of images stand class by class.
  PARE_ASSIGN_OR_RETURN(const auto loader, Loader::create(data, {.batch_size = options.batch_size,
                                                                 .seed = options.seed}));
  Batch batch;
  for (int64_t i = 0; i < loader->batches_per_epoch(); ++i) {
    if (where.stop != nullptr && where.stop->load()) return cancelled("gradients stopped");
    PARE_RETURN_IF_ERROR(loader->next(batch));
    PARE_ASSIGN_OR_RETURN(const auto gradients, differentiate(executor, batch, images, device));
    PARE_RETURN_IF_ERROR(take(gradients));
    for (const TorchExecutor::Named& p : executor.parameters()) p.drop_gradient();
  }
  return ok_status();
}

}  // namespace pare
