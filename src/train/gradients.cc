#include "train/gradients.h"

#include <memory>
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

// Backward through one batch; the gradients are then the executor's.
Status differentiate(TorchExecutor& executor, const TorchBatch& images, const Dataset& data) {
  try {
    PARE_ASSIGN_OR_RETURN(const at::Tensor output,
                          executor.forward(model_input(images.pixels, executor.source()), {}));
    const at::Tensor scores = model_scores(output, executor.source().contract);
    PARE_RETURN_IF_ERROR(check_classes(scores, data));
    label_loss(scores, images, 0).backward();
  } catch (const std::exception& error) {
    return internal_error("gradients: " + torch_error_line(error));
  }
  return ok_status();
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
  PARE_ASSIGN_OR_RETURN(const auto loader, Loader::create(data, {.batch_size = options.batch_size,
                                                                 .shuffle = false,
                                                                 .drop_last = false}));
  Batch batch;
  for (int64_t i = 0; i < loader->batches_per_epoch(); ++i) {
    if (where.stop != nullptr && where.stop->load()) return cancelled("gradients stopped");
    PARE_RETURN_IF_ERROR(loader->next(batch));
    PARE_RETURN_IF_ERROR(
        differentiate(executor, to_torch_batch(batch, images.image_shape(), device), images));
    std::map<std::string, Tensor> gradients;
    for (const TorchExecutor::Named& p : executor.parameters()) {
      if (!p.gradient().defined()) continue;  // the answer does not depend on it
      PARE_ASSIGN_OR_RETURN(gradients[p.name], from_torch(p.gradient(), {.share = true}));
    }
    PARE_RETURN_IF_ERROR(take(gradients));
    for (const TorchExecutor::Named& p : executor.parameters()) p.drop_gradient();
  }
  return ok_status();
}

}  // namespace pare
